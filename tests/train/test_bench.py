"""The benchmark's clip-by-clip step does the same work as ours, and what is reported adds up."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from tests.train.tiny import RATE, tiny_config
from train.augment.chain import AUGMENTATIONS, Augmenter
from train.bench.measure import compare
from train.bench.per_clip import PerClipPipeline
from train.bench.published_augmentations import PITCH_RATIOS, augment, resample, shift_pitch, stretch
from train.config import Variant
from train.corpus.cache import Cache
from train.network.system import PretrainingSystem


@pytest.mark.parametrize("variant", ["none", "split", "bn", "series", "parallel"])
def test_pass_by_pass_the_loss_of_two_views_is_that_of_our_one_batch(variant: Variant) -> None:
    """In evaluation mode, where batch statistics, which are per view there, play no part."""
    config = tiny_config(model={"variant": variant}, data={"clip_s": 0.325})  # 16 frames: no odd map is pooled
    clips = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 5200)).astype(np.float32))
    views, labels = Augmenter(config.augment, RATE).two_views(clips, 0)
    system = PretrainingSystem(config).eval()
    theirs = PerClipPipeline(config, [], system).loss(views[:6], views[6:], labels)
    assert theirs.item() == pytest.approx(system(views, labels)["loss"].item(), rel=1e-5)


def test_pitches_are_the_fourteen_that_the_published_library_knows_at_sixteen_kilohertz() -> None:
    """The specification sheet, section 2: plus and minus these semitones, evenly."""
    semitones = sorted(12 * np.log2(float(ratio)) for ratio in PITCH_RATIOS)
    known = [12, 11.59, 8.14, 7.73, 4.27, 3.86, 0.41]
    np.testing.assert_allclose(semitones, [-s for s in known] + known[::-1], atol=0.006)


def test_the_published_pitch_and_tempo_move_a_tone_as_asked() -> None:
    tone = torch.sin(2 * torch.pi * 500 * torch.arange(RATE) / RATE)

    def peak_hz(x: torch.Tensor) -> float:
        return float(torch.fft.rfft(x[2000:10000] * torch.hann_window(8000), 2**16).abs().argmax()) * RATE / 2**16

    for ratio in PITCH_RATIOS:
        assert peak_hz(shift_pitch(tone, ratio, RATE)) == pytest.approx(500 * float(ratio), rel=0.02)
    assert peak_hz(stretch(tone, 0.8)) == pytest.approx(500, rel=0.01)
    assert len(stretch(tone, 1.5)) == RATE


def test_the_published_resampler_is_a_resampler() -> None:
    """Within 0.05 of scipy's, away from the ends, for noise below 4 kHz."""
    noise = np.random.default_rng(0).standard_normal(4000)
    slow = resample_poly(noise, 2, 1).astype(np.float32)
    ours = resample(torch.from_numpy(slow), 16_000, 25_000).numpy()
    expected = resample_poly(slow, 25, 16)
    np.testing.assert_allclose(ours[500:-500], expected[500:-500], atol=0.05)


@pytest.mark.parametrize("kind", range(len(AUGMENTATIONS)))
def test_each_published_augmentation_changes_a_clip_and_keeps_its_length(kind: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(RATE) * 0.1
    y = augment(x, [kind], RATE, np.random.default_rng(1))
    assert y.shape == x.shape
    assert torch.isfinite(y).all()
    assert (y - x).abs().max() > 1e-3


def test_a_comparison_reports_both_steps_their_ratio_and_every_variant(audio: Path, cache: Cache) -> None:
    rows = list(compare(tiny_config(model={"tasks": ["invariant", "sensitive"]}), cache, audio, n_steps=1))
    published, ours, ratio = rows[:3]
    assert ratio["speedup"] == pytest.approx(ours["clips_per_s"] / published["clips_per_s"], rel=0.05)
    for row in (published, ours):
        assert sum(row["shares"].values()) == pytest.approx(1, abs=0.01)
    assert ratio["augmentation_share"] == ours["shares"]["augment"]
    assert [row["variant"] for row in rows[3:]] == ["none", "split", "bn", "series", "parallel"]
