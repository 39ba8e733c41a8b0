import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.config import ConfigError, FrontendConfig
from train.frontend import LogMel, LogMelStft, mel_bank, normalise_waveform

CFG = FrontendConfig(log_mean=2.5, log_std=4.5)
CLIPS = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 16_000)).astype(np.float32)) * 0.1


def test_the_mel_filters_are_librosas_htk_filters_without_area_normalisation() -> None:
    theirs = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=64, fmin=50, fmax=8000, htk=True, norm=None)
    np.testing.assert_allclose(mel_bank(CFG).numpy(), theirs, rtol=0, atol=1e-5)


def test_log_mel_is_what_its_formula_says_computed_frame_by_frame_in_numpy() -> None:
    x = CLIPS[0].double().numpy()
    x = (x - x.mean()) / np.sqrt(x.var() + CFG.waveform_variance_floor)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(640) / 640)
    mel = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=64, fmin=50, fmax=8000, htk=True, norm=None)
    columns = []
    for t in range(61):
        power = np.abs(np.fft.rfft(x[t * 256 : t * 256 + 640] * window, 1024)) ** 2
        columns.append((np.log(np.maximum(mel @ power, 1e-3)) - 2.5) / 4.5)
    ours = LogMel(CFG)(CLIPS[:1])
    assert ours.shape == (1, 1, 64, 61)
    np.testing.assert_allclose(ours[0, 0].numpy(), np.stack(columns, axis=1), rtol=0, atol=2e-4)


def test_a_product_with_the_fixed_basis_gives_the_transform() -> None:
    torch.testing.assert_close(LogMel(CFG, "matmul")(CLIPS), LogMel(CFG)(CLIPS), rtol=0, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(level=st.floats(-30, 20), offset=st.floats(-0.5, 0.5))
def test_the_level_and_the_offset_of_a_clip_do_not_matter(level: float, offset: float) -> None:
    changed = CLIPS * 10 ** (level / 20) + offset
    torch.testing.assert_close(LogMel(CFG)(changed), LogMel(CFG)(CLIPS), rtol=0, atol=5e-3)


def test_silence_and_a_constant_give_the_floor_everywhere() -> None:
    floor = (np.log(1e-3) - 2.5) / 4.5
    for clip in (torch.zeros(1, 16_000), torch.full((1, 16_000), 0.7)):
        assert normalise_waveform(clip, 1e-8).abs().max() < 1e-2
        np.testing.assert_allclose(LogMel(CFG)(clip).numpy(), floor, atol=1e-5)


def test_a_frame_sees_its_own_samples_only() -> None:
    """A change behind frame t's window leaves frames up to t alone, but for the clip's own normalisation."""
    changed = CLIPS[:1].clone()
    first = 30 * 256 + 640
    changed[0, first:] = changed[0, first:].flip(0)  # same mean and variance
    before, after = LogMel(CFG)(CLIPS[:1]), LogMel(CFG)(changed)
    torch.testing.assert_close(before[..., :31], after[..., :31], rtol=0, atol=1e-5)
    assert (before[..., 31:] - after[..., 31:]).abs().max() > 0.1


PAPER = FrontendConfig(
    channels="log-mel+stft",
    n_fft=1024,
    win_length=1024,
    hop_length=512,
    n_mels=128,
    f_min=0.0,
    centred=True,
    log_floor=2.2e-16,
    log_std=float(np.log(10) / 10),
)


def test_the_papers_three_channels_are_those_of_its_formula_in_numpy() -> None:
    x = CLIPS[1].double().numpy()
    x = (x - x.mean()) / np.sqrt(x.var() + PAPER.waveform_variance_floor)
    mel = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=128, fmin=0, fmax=8000, htk=True, norm=None)
    windowed = librosa.stft(x, n_fft=1024, hop_length=512, window="hann", pad_mode="reflect")
    plain = librosa.stft(x, n_fft=1024, hop_length=512, window="boxcar", pad_mode="reflect")
    real, imaginary = mel @ plain.real, mel @ plain.imag
    ours = LogMelStft(PAPER)(CLIPS[1:2])[0].double().numpy()
    assert ours.shape == (3, 128, 32)  # 32 frames a second: the specification's table
    np.testing.assert_allclose(ours[0], 10 * np.log10(mel @ np.abs(windowed) ** 2 + 2.2e-16), rtol=0, atol=5e-3)
    np.testing.assert_allclose(ours[1], 10 * np.log10(np.hypot(real, imaginary)), rtol=0, atol=5e-3)
    apart = np.abs(np.angle(np.exp(1j * (ours[2] - np.arctan2(imaginary, real)))))
    assert apart.max() < 1e-2


@pytest.mark.parametrize(("seconds", "frames"), [(10, 313), (5, 157), (4, 126), (1, 32)])
def test_the_papers_input_has_the_published_numbers_of_frames(seconds: int, frames: int) -> None:
    assert PAPER.n_frames(seconds * 16_000) == frames


def test_mel_filters_too_narrow_for_the_transform_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="n_mels=400 leaves mel filters without a single FFT bin"):
        LogMel(FrontendConfig(n_mels=400))
