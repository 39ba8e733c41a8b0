"""The real path, PortAudio and PulseAudio included: what is played is what is captured."""

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from device_app.arrays import FloatArray
from device_app.capture import Block, Capture, MicrophoneSource
from device_app.device_list import find_device
from device_app.recordings.take import Takes, record_takes
from tests.device_app.capture.harness import Reader
from tests.device_app.virtual_mic import VirtualMic

pytestmark = pytest.mark.mic
RATE = 48000


def bursts(path: Path, *pitches: float, level: float = 0.5) -> FloatArray:
    """A tone burst of 0.5 s for each pitch in Hz, half a second of faint noise around each; written to ``path``."""
    rng = np.random.default_rng(11)
    t = np.arange(RATE // 2) / RATE
    parts = []
    for pitch in pitches:
        parts += [np.zeros(RATE // 2), level * np.sin(2 * np.pi * pitch * t) * np.hanning(t.size) ** 0.1]
    parts.append(np.zeros(RATE // 2))
    samples = (np.concatenate(parts) + rng.normal(0, 1e-3, RATE // 2 * len(parts))).astype(np.float32)
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return samples


def audio(blocks: list[Block]) -> FloatArray:
    """The blocks at 48 kHz."""
    (rate,) = {block.sample_rate for block in blocks}
    return soxr.resample(np.concatenate([block.waveform for block in blocks]), rate, RATE)


def loud(block: Block) -> bool:
    return float(np.abs(block.waveform).max()) > 0.1


def pitch_of(samples: FloatArray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(np.argmax(spectrum)) * RATE / samples.size


def test_the_microphone_hears_what_is_played(virtual_mic: VirtualMic, tmp_path: Path) -> None:
    played = bursts(tmp_path / "bursts.wav", 1000.0, 2500.0)
    with Capture(MicrophoneSource()) as capture:
        listener = Reader(capture)
        listener.more_blocks(1)
        virtual_mic.start_playing(tmp_path / "bursts.wav")
        listener.until(lambda r: any(map(loud, r.blocks)))
        listener.for_seconds(3.5)
    heard = audio(listener.blocks)
    # Where the played file lies in what was heard, by cross-correlation.
    size = 1 << int(np.ceil(np.log2(heard.size + played.size)))
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size)))
    begin = int(np.argmax(correlation[: heard.size - played.size]))
    found = heard[begin : begin + played.size]
    similarity = float(np.dot(found, played) / np.sqrt(np.dot(found, found) * np.dot(played, played)))
    assert similarity > 0.98
    n = RATE // 2
    assert pitch_of(found[n : 2 * n]) == pytest.approx(1000.0, abs=3.0)
    assert pitch_of(found[3 * n : 4 * n]) == pytest.approx(2500.0, abs=3.0)
    lengths = np.abs(found).reshape(-1, n // 10).max(axis=1) > 0.1  # in pieces of 50 ms
    assert lengths.sum() * 0.05 == pytest.approx(1.0, abs=0.1)
    assert np.sqrt(np.mean(found**2)) == pytest.approx(np.sqrt(np.mean(played**2)), rel=0.05)
    assert sum(block.n_lost for block in listener.blocks) == 0


def test_recording_goes_on_after_an_unplug_and_a_replug(virtual_mic: VirtualMic, tmp_path: Path) -> None:
    bursts(tmp_path / "before.wav", *[1000.0] * 30)
    bursts(tmp_path / "after.wav", 2500.0, 2500.0)
    with Capture(MicrophoneSource(), retry=True) as capture:
        listener = Reader(capture)
        listener.more_blocks(1)
        virtual_mic.start_playing(tmp_path / "before.wav")
        listener.until(lambda r: any(map(loud, r.blocks)))
        # PulseAudio moves recorders to a null device of its own, and players too: only the sound's end makes a loss.
        virtual_mic.unplug()
        virtual_mic.stop_playing()
        since = time.time()
        listener.until(lambda r: any(n.state == "lost" and n.time > since for n in r.notices))
        noticed_s = listener.notices[-1].time - since
        virtual_mic.replug()
        listener.for_seconds(1.0)
        n_before = len(listener.blocks)
        virtual_mic.play(tmp_path / "after.wav")
        listener.until(lambda r: any(map(loud, r.blocks[n_before:])))
        listener.for_seconds(1.5)
        assert listener.notices[-1].state == "running"
    assert noticed_s < 10.0  # 2 s on a machine that is not busy
    after = listener.blocks[n_before:]
    onset = next(k for k, block in enumerate(after) if loud(block))
    assert pitch_of(audio(after[onset : onset + 5])) == pytest.approx(2500.0, abs=30.0)
    starts = [block.start_sample - block.n_lost for block in listener.blocks[1:]]
    assert starts == [block.end_sample for block in listener.blocks[:-1]]


def test_recording_goes_on_after_the_sound_server_crashed(virtual_mic: VirtualMic, tmp_path: Path) -> None:
    bursts(tmp_path / "after.wav", *[2500.0] * 30)
    with Capture(MicrophoneSource(), retry=True) as capture:
        listener = Reader(capture)
        listener.more_blocks(3)
        virtual_mic.kill_server()
        listener.until(lambda r: any(state == "retrying" for state, _ in r.told))
        virtual_mic.start()
        n_before = len(listener.blocks)
        listener.until(lambda r: len(r.blocks) > n_before)
        virtual_mic.start_playing(tmp_path / "after.wav")
        listener.until(lambda r: any(map(loud, r.blocks[n_before:])))
    assert any(state == "lost" for state, _ in listener.told)
    back = listener.blocks[n_before]
    assert back.n_lost > 0
    assert back.start_sample == listener.blocks[n_before - 1].end_sample + back.n_lost


def test_silence_of_the_virtual_microphone_does_not_stop_what_comes_after(
    virtual_mic: VirtualMic, tmp_path: Path
) -> None:
    bursts(tmp_path / "sound.wav", 1000.0)
    with Capture(MicrophoneSource(), retry=True) as capture:
        listener = Reader(capture)
        listener.until(lambda r: ("lost", "silent") in r.told)
        process = capture.process_id
        virtual_mic.start_playing(tmp_path / "sound.wav")
        listener.until(lambda r: any(map(loud, r.blocks)))
        assert capture.process_id == process
    assert listener.told.count(("lost", "silent")) == 1


def test_the_default_device_is_found_by_its_name(virtual_mic: VirtualMic) -> None:
    device = find_device(None)
    assert device.is_default
    assert find_device(device.name) == device
    assert device.sample_rate >= 16000


def test_takes_are_recorded_from_the_microphone(virtual_mic: VirtualMic, tmp_path: Path) -> None:
    # Two bursts a cycle of 4 s: whenever a take begins, one comes before its time is over.
    bursts(tmp_path / "doorbell.wav", *[1000.0] * 40)
    virtual_mic.start_playing(tmp_path / "doorbell.wav")
    takes = Takes()
    record_takes(MicrophoneSource(), takes, n_takes=2, take_s=2.0, countdown_s=1)
    first, second = takes.kept
    for take in takes.kept:
        assert take.device == "the default microphone"
        assert 0.5 <= take.waveform.size / take.sample_rate <= 2.5
        assert np.abs(take.waveform).max() == pytest.approx(0.5, abs=0.05)
        assert abs(take.time - time.time()) < 60.0
    assert second.time >= first.time + first.waveform.size / first.sample_rate
