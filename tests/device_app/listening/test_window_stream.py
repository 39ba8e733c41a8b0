import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from device_app.listening.window_stream import WindowStream, level_dbfs

RNG = np.random.default_rng(0)
CLIP = RNG.standard_normal(9000).astype(np.float32) * 0.1


def stream() -> WindowStream:
    return WindowStream(sample_rate=1000, clip_samples=1000, hop_samples=250)


@given(cuts=st.lists(st.integers(0, CLIP.size), max_size=20), native_rate=st.sampled_from([1000, 3000, 2205]))
@settings(deadline=None, max_examples=40)
def test_the_windows_are_those_of_the_whole_clip_however_it_is_cut(cuts: list[int], native_rate: int) -> None:
    windows = stream()
    pieces, position = [], 0
    for block in np.split(CLIP, sorted(cuts)):  # empty blocks included
        pieces.append(windows.push(block, native_rate, position))
        position += len(block)
    cut_up = np.concatenate([piece.waveforms for piece in pieces])
    starts = np.concatenate([piece.start_s for piece in pieces])
    whole = stream().push(CLIP, native_rate, 0)
    np.testing.assert_allclose(cut_up, whole.waveforms, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(starts, whole.start_s)


def test_at_the_models_own_rate_windows_are_slices_a_hop_apart() -> None:
    windows = stream().push(CLIP, 1000, 0)
    assert windows.waveforms.shape == (33, 1000)
    np.testing.assert_array_equal(windows.waveforms[5], CLIP[1250:2250])
    np.testing.assert_allclose(windows.start_s, np.arange(33) * 0.25)


def test_another_rate_is_converted_as_soxr_converts_the_whole() -> None:
    windows = stream().push(CLIP, 3000, 0)
    expected = soxr.resample(CLIP, 3000, 1000)
    np.testing.assert_allclose(windows.waveforms[1], expected[250:1250], rtol=0, atol=1e-5)


def test_after_a_gap_no_window_joins_audio_from_both_sides_and_the_clock_goes_on() -> None:
    windows = stream()
    assert len(windows.push(CLIP[:900], 1000, 0)) == 0
    assert len(windows.push(CLIP[900:1800], 1000, 5000)) == 0  # 900 new samples are less than a window
    after = windows.push(CLIP[1800:2000], 1000, 5900)
    np.testing.assert_array_equal(after.waveforms[0], CLIP[900:1900])
    assert after.start_s[0] == pytest.approx(5.0)


def test_zeros_lead_the_first_window_and_the_first_after_a_gap() -> None:
    windows = WindowStream(sample_rate=1000, clip_samples=1000, hop_samples=250, lead_samples=750)
    for start_sample, origin_s in ((0, -0.75), (5000, 4.25)):
        first = windows.push(CLIP[:500], 1000, start_sample)
        np.testing.assert_allclose(first.start_s, [origin_s, origin_s + 0.25])
        np.testing.assert_array_equal(first.waveforms[0], np.concatenate([np.zeros(750), CLIP[:250]]))
        np.testing.assert_array_equal(first.waveforms[1][-500:], CLIP[:500])


@pytest.mark.parametrize(("native_rate", "n_block"), [(16000, 2000), (48000, 6000), (44100, 5512)])
def test_windows_that_may_shift_end_with_the_blocks_and_are_steady_slices_of_the_whole(
    native_rate: int, n_block: int
) -> None:
    """A step of an eighth of a second is no whole number of samples at 44.1 kHz, and soxr delivers in lumps."""
    native = RNG.standard_normal(20 * native_rate).astype(np.float32) * 0.1
    whole = soxr.resample(native, native_rate, 16000) if native_rate != 16000 else native
    windows = WindowStream(sample_rate=16000, clip_samples=16000, hop_samples=2000, shift_samples=500)
    resampler = soxr.ResampleStream(native_rate, 16000, 1, dtype="float32", quality="HQ")
    n_come = 0
    ends: list[int] = []
    for start in range(0, len(native) - n_block, n_block):
        block = native[start : start + n_block]
        n_come += len(resampler.resample_chunk(block)) if native_rate != 16000 else len(block)
        found = windows.push(block, native_rate, start)
        assert len(found) == 1 or not ends  # at first none, and then maybe the second one at once
        if len(found):
            ends.append(round(found.start_s[-1] * 16000) + 16000)
            assert ends[-1] == n_come  # nothing that came is left out of it
            np.testing.assert_allclose(found.waveforms[-1], whole[ends[-1] - 16000 : ends[-1]], rtol=0, atol=1e-4)
    steps = np.diff(ends)
    assert len(steps) > 140
    assert steps.min() >= 1500
    assert steps.max() <= 2500


def test_windows_shift_no_further_than_they_may_and_follow_their_grid_otherwise() -> None:
    windows = WindowStream(sample_rate=1000, clip_samples=1000, hop_samples=250, shift_samples=50)
    np.testing.assert_allclose(windows.push(CLIP[:1060], 1000, 0).start_s, [0.0])  # 60 beyond it: not shifted
    np.testing.assert_allclose(windows.push(CLIP[1060:1300], 1000, 1060).start_s, [0.3])  # shifted by 50
    np.testing.assert_allclose(windows.push(CLIP[1300:1500], 1000, 1300).start_s, [0.5])  # and back, 50 early
    assert len(windows.push(CLIP[1500:1690], 1000, 1500)) == 0
    np.testing.assert_allclose(windows.push(CLIP[1690:2400], 1000, 1690).start_s, [0.75, 1.0, 1.25])


def test_the_level_of_a_sine_is_three_decibels_below_its_peak_and_silence_is_defined() -> None:
    sine = 0.1 * np.sin(2 * np.pi * 50 * np.arange(1000) / 1000).astype(np.float32)
    assert level_dbfs(sine) == pytest.approx(-23.01, abs=0.01)
    assert level_dbfs(np.zeros(10, np.float32)) == -120.0
    assert level_dbfs(np.zeros(0, np.float32)) == -120.0
