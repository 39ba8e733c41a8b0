import numpy as np
import pytest

from train.evaluate.conditions import CONDITIONS, level, narrow_band, noise, reverberation

RATE = 16_000


def clip(seconds: float = 1.0) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * 1000 * t) + 0.2 * np.sin(2 * np.pi * 6000 * t)).astype(np.float32)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_keeps_the_length_and_is_the_same_each_time(name: str) -> None:
    for x in (clip(), clip(0.11)):
        first, second = (CONDITIONS[name](x, RATE, np.random.default_rng(3)) for _ in range(2))
        assert first.shape == x.shape
        assert first.dtype == np.float32
        np.testing.assert_array_equal(first, second)
        assert not np.allclose(first, x)


@pytest.mark.parametrize("snr_db", [20.0, 0.0])
def test_noise_lies_as_far_below_the_clip_as_it_says_and_is_pink(snr_db: float) -> None:
    x = clip(4.0)
    added = noise(x, RATE, np.random.default_rng(0), snr_db=snr_db) - x
    assert 10 * np.log10(np.mean(x**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.1)
    power = np.abs(np.fft.rfft(added)) ** 2
    hertz = np.fft.rfftfreq(len(x), 1 / RATE)
    octaves = [power[(hertz >= f) & (hertz < 2 * f)].sum() for f in (250, 500, 1000, 2000)]
    np.testing.assert_allclose(10 * np.log10(octaves / np.mean(octaves)), 0, atol=1.0)  # as much in each octave


def test_a_rooms_answer_falls_by_sixty_decibels_in_its_time_and_is_as_strong_as_the_direct_sound() -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 1.0
    heard = reverberation(click, RATE, np.random.default_rng(0), decay_s=0.5)
    assert heard[0] == pytest.approx(1.0, abs=1e-4)
    tail = heard[1 : RATE // 2 + 1]
    assert np.sum(tail**2) == pytest.approx(1.0, abs=1e-3)
    early, late = (10 * np.log10(np.mean(tail[at : at + 800] ** 2)) for at in (800, 4800))
    assert early - late == pytest.approx(60 * 4000 / (RATE // 2), abs=1.5)
    assert np.abs(heard[RATE // 2 + 1 :]).max() < 1e-6


def test_a_low_level_loses_bits_and_a_high_one_is_cut_off() -> None:
    x = clip()
    quiet = level(x, RATE, np.random.default_rng(0), gain_db=-50.0)
    assert np.abs(quiet).max() == pytest.approx(np.abs(x).max() * 10 ** (-50 / 20), abs=1 / 32767)
    np.testing.assert_allclose(quiet * 32767, np.round(quiet * 32767), atol=1e-3)
    loud = level(x, RATE, np.random.default_rng(0), gain_db=12.0)
    assert (np.abs(loud) == 1.0).mean() > 0.2


def test_at_eight_kilohertz_what_lies_above_four_is_gone_and_the_rest_stays() -> None:
    heard = narrow_band(clip(), RATE, np.random.default_rng(0), through=8000)
    before, after = (np.abs(np.fft.rfft(x[2000:-2000] * np.hanning(12_000))) for x in (clip(), heard))
    hertz = np.fft.rfftfreq(12_000, 1 / RATE)
    assert after[np.argmin(np.abs(hertz - 1000))] == pytest.approx(before[np.argmin(np.abs(hertz - 1000))], rel=0.02)
    assert after[np.argmin(np.abs(hertz - 6000))] < 1e-3 * before[np.argmin(np.abs(hertz - 6000))]
