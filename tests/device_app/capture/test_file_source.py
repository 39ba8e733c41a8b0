import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_app.capture import Block, Capture, FileSource, MicrophoneSource, Notice
from device_app.errors import AudioError, DeviceError
from tests.device_app.capture.harness import Reader

RNG = np.random.default_rng(7)


def noise(n_samples: int, n_channels: int = 1) -> np.ndarray:
    return RNG.uniform(-0.9, 0.9, (n_samples, n_channels)).astype(np.float32)


def read_all(capture: Capture) -> tuple[list[Block], list[Notice]]:
    blocks: list[Block] = []
    notices: list[Notice] = []
    while not (notices and notices[-1].state == "ended"):
        items = capture.read(60.0)
        assert items, "the capture stands still"
        blocks += [item for item in items if isinstance(item, Block)]
        notices += [item for item in items if isinstance(item, Notice)]
    return blocks, notices


def failure(source: FileSource) -> str:
    with pytest.raises(AudioError) as caught, Capture(source) as capture:
        read_all(capture)
    return str(caught.value)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n_samples=st.integers(1, 20000),
    n_channels=st.integers(1, 3),
    rate=st.sampled_from([8000, 16000, 44100, 96000]),
    subtype=st.sampled_from(["PCM_16", "PCM_24", "FLOAT", "PCM_U8"]),
    block_s=st.floats(0.01, 1.0),
)
def test_a_file_comes_out_of_the_capture_sample_for_sample(
    tmp_path: Path, n_samples: int, n_channels: int, rate: int, subtype: str, block_s: float
) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, noise(n_samples, n_channels), rate, subtype=subtype)
    with Capture(FileSource(path), block_s=block_s, buffer_s=2.0) as capture:
        blocks, notices = read_all(capture)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1, dtype=np.float32)
    np.testing.assert_array_equal(np.concatenate([block.waveform for block in blocks]), expected)
    assert [block.start_sample for block in blocks] == list(range(0, n_samples, max(1, round(block_s * rate))))
    assert {block.sample_rate for block in blocks} == {rate}
    assert sum(block.n_lost for block in blocks) == 0
    assert [notice.state for notice in notices] == ["running", "ended"]


@pytest.mark.parametrize("name", ["sound.flac", "sound.ogg", "sound.mp3"])
def test_compressed_files_are_read_as_soundfile_reads_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(path, noise(30000, 2), 44100)
    with Capture(FileSource(path, channel=1)) as capture:
        blocks, _ = read_all(capture)
    expected = np.clip(soundfile.read(path, dtype="float32", always_2d=True)[0][:, 1], -1.0, 1.0)
    np.testing.assert_array_equal(np.concatenate([block.waveform for block in blocks]), expected)


def test_a_file_waits_for_a_reader_who_is_late_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    samples = noise(16000 * 60)
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    with Capture(FileSource(path), buffer_s=0.5) as capture:
        time.sleep(1.0)
        blocks, _ = read_all(capture)
        assert capture.read(60.0) == []  # at once: a time-out of a minute would fail the run
    np.testing.assert_array_equal(np.concatenate([block.waveform for block in blocks]), samples[:, 0])
    assert sum(block.n_lost for block in blocks) == 0


def test_blocks_are_dated_from_the_moment_at_which_reading_began(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, noise(16000 * 3), 16000)
    before = time.time()
    with Capture(FileSource(path), block_s=0.5) as capture:
        blocks, _ = read_all(capture)
    assert before - 1.0 < blocks[0].time < time.time()
    assert blocks[4].time - blocks[0].time == pytest.approx(2.0, abs=1e-6)


def test_a_file_played_in_real_time_takes_as_long_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, noise(16000 * 2), 16000)
    began = time.monotonic()
    with Capture(FileSource(path, realtime=True)) as capture:
        blocks, _ = read_all(capture)
    assert time.monotonic() - began >= 2.0
    assert sum(block.waveform.size for block in blocks) == 32000


def test_a_missing_file_and_a_folder_without_audio_are_refused_in_a_sentence(tmp_path: Path) -> None:
    assert failure(FileSource(tmp_path / "none.wav")).startswith(f"{tmp_path / 'none.wav'} does not exist: ")
    assert failure(FileSource(tmp_path)).startswith(f"no audio files below {tmp_path}")


def test_a_file_that_is_no_audio_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "letter.wav"
    path.write_text("Dear Sir or Madam")
    assert failure(FileSource(path)).startswith(f"cannot read {path} (")


def test_an_empty_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, noise(0), 16000)
    assert failure(FileSource(path)) == f"{path} holds no audio: record it again"


def test_a_silent_file_is_an_error_once_it_has_been_read(tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(32000, np.float32), 16000)
    assert failure(FileSource(path)).startswith(f"{path} is silent: all of its 2.0 s are exact zeros")


def test_a_sample_that_is_not_a_number_is_an_error_after_the_audio_before_it(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    samples = noise(16000)
    samples[8000] = np.nan
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    listener = Reader(Capture(FileSource(path)))
    with listener.capture, pytest.raises(AudioError, match=r"not a number, 0\.500 s from its start"):
        listener.until(lambda _: False)
    assert sum(block.waveform.size for block in listener.blocks) == 8000


def test_integers_saved_as_floats_are_refused_and_a_slight_overshoot_is_cut_off(tmp_path: Path) -> None:
    wrong, loud = tmp_path / "wrong.wav", tmp_path / "loud.wav"
    soundfile.write(wrong, noise(1000) * 32768, 16000, subtype="FLOAT")
    soundfile.write(loud, noise(1000) * 2, 16000, subtype="FLOAT")
    assert "where full scale is 1" in failure(FileSource(wrong))
    with Capture(FileSource(loud)) as capture:
        blocks, _ = read_all(capture)
    assert np.abs(np.concatenate([block.waveform for block in blocks])).max() == 1.0


def test_a_channel_that_a_file_does_not_have_is_refused_with_those_it_has(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, noise(1000, 2), 16000)
    assert "has 2 channel(s), so there is no channel 2: choose one of 0 to 1" in failure(FileSource(path, channel=2))
    with pytest.raises(AudioError, match="counted from 0"):
        FileSource(path, channel=-1)
    with pytest.raises(DeviceError, match="counted from 0"):
        MicrophoneSource(channel=-1)


def test_a_folder_with_modules_named_like_pythons_own_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError")
    soundfile.write(tmp_path / "sound.wav", noise(1000), 16000)
    monkeypatch.chdir(tmp_path)
    with Capture(FileSource(Path("sound.wav"))) as capture:
        assert sum(block.waveform.size for block in read_all(capture)[0]) == 1000


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_may_have_any_name(folder: bool, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "sound.wav", noise(1000), 16000)
    path = (tmp_path / "sound.wav").rename(tmp_path / b"caf\xe9.wav".decode(errors="surrogateescape"))  # Latin-1
    with Capture(FileSource(tmp_path if folder else path)) as capture:
        blocks, _ = read_all(capture)
    assert sum(block.waveform.size for block in blocks) == 1000
