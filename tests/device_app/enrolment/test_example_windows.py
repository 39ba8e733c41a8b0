import numpy as np
import pytest

from device_app.enrolment.example_windows import (
    MAX_BACKGROUND_WINDOWS,
    MAX_WINDOWS,
    add_noise,
    background_windows,
    coloured_noise,
    example_windows,
    find_sound,
)
from device_app.errors import AudioError
from device_app.listening.window_stream import level_dbfs

RATE = 16000


def burst(total_s: float, start_s: float, length_s: float, amplitude: float = 0.3) -> np.ndarray:
    waveform = np.random.default_rng(1).standard_normal(int(total_s * RATE)).astype(np.float32) * 1e-4
    start, end = int(start_s * RATE), int((start_s + length_s) * RATE)
    waveform[start:end] += amplitude * np.sin(2 * np.pi * 880 * np.arange(end - start) / RATE).astype(np.float32)
    return waveform


def test_the_sound_is_found_within_a_frame_of_where_it_is() -> None:
    start, end = find_sound(burst(3.0, 1.0, 0.5), RATE)
    assert start / RATE == pytest.approx(1.0, abs=0.02)
    assert end / RATE == pytest.approx(1.5, abs=0.02)


def test_an_even_sound_is_all_sound() -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) * 0.1
    assert find_sound(noise, RATE) == (0, 2 * RATE)


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (np.zeros(RATE, np.float32), "silent"),
        (burst(1.0, 0.2, 0.5, amplitude=1e-5) * 0.1, "silent"),
        (np.zeros(100, np.float32), "0.006 s long"),
        (burst(61.0, 1.0, 0.5), "more than 60 s"),
    ],
)
def test_a_recording_without_a_usable_sound_is_refused_with_the_reason(waveform: np.ndarray, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        find_sound(waveform, RATE)


def test_every_window_holds_at_least_a_quarter_of_the_sounds_energy() -> None:
    waveform = burst(4.0, 2.0, 0.3)
    windows = example_windows(waveform, RATE, RATE, np.random.default_rng(0))
    clean = windows[: len(windows) // 3]
    energy = np.square(clean, dtype=np.float64).sum(axis=1)
    assert 3 <= len(clean) <= MAX_WINDOWS
    assert energy.min() >= 0.25 * np.square(waveform, dtype=np.float64).sum()


def test_a_recording_shorter_than_a_window_gives_windows_too() -> None:
    windows = example_windows(burst(0.3, 0.05, 0.2), RATE, RATE, np.random.default_rng(0))
    assert windows.shape[1] == RATE
    assert windows.dtype == np.float32


def peak_hz(windows: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft(windows, 8 * RATE)).argmax(axis=1) / 8


def test_a_second_variant_is_a_little_higher_or_lower_unless_pitch_matters() -> None:
    clean, varied, noisy = np.split(example_windows(burst(4.0, 2.0, 0.9), RATE, RATE, np.random.default_rng(0)), 3)
    assert peak_hz(clean) == pytest.approx(880, abs=2)
    ratios = peak_hz(varied) / 880
    assert np.all((np.abs(ratios - 1.03) < 0.005) | (np.abs(ratios - 1 / 1.03) < 0.005))
    assert ratios.max() > 1 > ratios.min()
    for window, other in zip(clean, noisy, strict=True):
        assert level_dbfs(window) - level_dbfs(other - window) == pytest.approx(20.0, abs=0.1)
    same = example_windows(burst(4.0, 2.0, 0.9), RATE, RATE, np.random.default_rng(0), vary_pitch=False)
    np.testing.assert_array_equal(*np.split(same, 3)[:2])


def test_noise_is_that_of_the_room_where_it_is_known() -> None:
    room = np.sin(2 * np.pi * 3000 * np.arange(3 * RATE) / RATE).astype(np.float32) * 0.01
    silence = np.zeros(2 * RATE, np.float32)
    windows = example_windows(burst(4.0, 2.0, 0.9), RATE, RATE, np.random.default_rng(0), room=[room])
    clean, _, noisy = np.split(windows, 3)
    assert peak_hz(noisy - clean) == pytest.approx(3000, abs=1)
    for unusable in (silence, room[:100]):
        noisy = np.split(
            example_windows(burst(4.0, 2.0, 0.9), RATE, RATE, np.random.default_rng(0), room=[unusable]), 3
        )[2]
        assert np.isfinite(noisy).all()


def test_noise_is_added_at_the_ratio_asked_for() -> None:
    window = burst(1.0, 0.0, 1.0)
    added = add_noise(window, coloured_noise(RATE, np.random.default_rng(0)), 8.0) - window
    assert level_dbfs(window) - level_dbfs(added) == pytest.approx(8.0, abs=0.05)


def test_a_long_recording_of_the_room_gives_a_bounded_number_of_windows_from_all_of_it() -> None:
    room = np.arange(600 * 1000, dtype=np.float32) / 6e5
    windows = background_windows(room, 1000)
    assert windows.shape == (MAX_BACKGROUND_WINDOWS, 1000)
    assert (windows[0, 0], windows[-1, -1]) == (room[0], room[-1])
    assert background_windows(room[:10], 1000).shape == (1, 1000)
