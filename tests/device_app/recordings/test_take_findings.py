"""Each thing that can be amiss with a recording is made, found, and not found where it is not."""

import numpy as np
import pytest

from device_app.arrays import FloatArray
from device_app.audio_file import read_native
from device_app.demo.stream import bundled_clips
from device_app.recordings.take_findings import examine, find_hum

RATE = 16000


def room(seconds: float, level: float = 3e-4) -> FloatArray:
    return np.random.default_rng(1).normal(0, level, round(RATE * seconds)).astype(np.float32)


def sweep(seconds: float, level: float) -> FloatArray:
    """A sound with an attack and a release of 10 ms."""
    t = np.arange(round(RATE * seconds)) / RATE
    envelope = np.minimum(1.0, np.minimum(t, t[::-1]) / 0.01)
    return (level * envelope * np.sin(2 * np.pi * (500 + 1000 * t) * t)).astype(np.float32)


def in_room(sound: FloatArray) -> FloatArray:
    return np.concatenate([room(0.5), sound, room(0.5)])


def hum(seconds: float, mains: int, level: float) -> FloatArray:
    t = np.arange(round(RATE * seconds)) / RATE
    lines = [np.sin(2 * np.pi * mains * k * t + k) / k for k in range(1, 6)]
    return (level * np.sum(lines, axis=0)).astype(np.float32)


def codes(waveform: FloatArray, background: FloatArray | None = None) -> list[str]:
    return [finding.code for finding in examine(waveform, RATE, background)]


def test_a_good_recording_has_no_finding() -> None:
    assert codes(in_room(sweep(0.5, 0.3))) == []


@pytest.mark.parametrize(
    ("waveform", "code", "advice"),
    [
        (in_room(np.clip(sweep(0.5, 3.0), -1.0, 1.0)), "clipped", "gain down"),
        (in_room(np.clip(sweep(0.5, 3.0), -0.95, 0.95)), "clipped", "farther"),
        (np.concatenate([room(0.5, 1e-5), sweep(0.5, 0.004), room(0.5, 1e-5)]), "too_quiet", "nearer"),
        (in_room(sweep(0.06, 0.3)), "too_short", "all of the sound"),
        (np.concatenate([sweep(0.5, 0.3)[2000:], room(0.5)]), "cut_off", "a moment before"),
        (in_room(sweep(0.5, 0.3)) + hum(1.5, 50, 0.02), "hum", "50 Hz"),
        (in_room(sweep(0.5, 0.3)) + hum(1.5, 60, 0.02), "hum", "60 Hz"),
    ],
)
def test_each_fault_is_found_alone_with_what_to_do(waveform: FloatArray, code: str, advice: str) -> None:
    (finding,) = examine(waveform, RATE)
    assert finding.code == code
    assert advice in finding.sentence
    assert not finding.useless


@pytest.mark.parametrize(
    ("waveform", "advice"),
    [
        (np.zeros(RATE, np.float32), "check the microphone"),
        (room(1.0, 1e-4), "closer to the sound"),
        (sweep(0.02, 0.3), "quarter of a second"),
    ],
)
def test_silence_and_a_mere_click_teach_nothing(waveform: FloatArray, advice: str) -> None:
    (finding,) = examine(waveform, RATE)
    assert finding.useless
    assert advice in finding.sentence


def test_a_peak_at_full_scale_alone_is_not_clipping() -> None:
    assert codes(in_room(sweep(0.5, 1.0))) == []


def test_a_file_that_was_cut_right_at_an_onset_is_not_cut_off() -> None:
    assert codes(np.concatenate([sweep(0.5, 0.3), room(0.5)])) == []


def test_an_even_sound_from_beginning_to_end_is_neither_cut_off_nor_hum() -> None:
    assert codes(hum(1.5, 50, 0.1)) == []


def test_hum_is_looked_for_in_the_countdown_where_there_was_one() -> None:
    clean, humming = sweep(0.5, 0.3), hum(2.0, 50, 0.02) + room(2.0)
    assert codes(clean, humming) == ["hum"]
    assert codes(clean, room(2.0)) == []


def test_hum_that_is_faint_beside_the_sound_is_not_worth_a_word() -> None:
    assert codes(in_room(sweep(0.5, 0.3)) + hum(1.5, 50, 0.001)) == []


def test_the_level_of_hum_is_measured() -> None:
    found = find_hum(hum(2.0, 50, 0.02), RATE)
    assert found is not None
    power = sum((0.02 / k) ** 2 / 2 for k in range(1, 6))
    assert found == (50, pytest.approx(10 * np.log10(power), abs=0.5))


@pytest.mark.parametrize("pitch_hz", [110.0, 220.0, 440.0])
def test_a_note_in_the_background_is_not_mains_hum(pitch_hz: float) -> None:
    t = np.arange(2 * RATE) / RATE
    note = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 8))
    assert find_hum((0.05 * note).astype(np.float32) + room(2.0), RATE) is None


def test_the_demos_recordings_are_seldom_faulted() -> None:
    clips = [path for paths in bundled_clips("enrol").values() for path in paths]
    faulted = [path for path in clips if examine(*read_native(path))]
    assert len(clips) == 20
    assert len(faulted) <= 3
