from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from tests.train.evaluate.made import RATE, a_set, write_tones
from train.augment.chain import AUGMENTATIONS, Augmenter
from train.config import AugmentConfig
from train.evaluate.invariance import augment_all, invariance, loudest_windows, weight_shares, whitening
from train.evaluate.sets import read_folder
from train.evaluate.tasks import TaskSpec, sample_tasks


class TwoHeads:
    """One head that hears only how strong each of some bands is on the whole, and one that hears samples."""

    name = fingerprint = "two"
    sample_rate = RATE
    clip_samples = 4000
    standardise = False

    def embed(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        power = np.abs(np.fft.rfft(windows)) ** 2
        bands = np.log(power[:, 1:2001].reshape(len(windows), 10, 200).sum(axis=2) + 1e-6)
        return {"spectrum": bands.astype(np.float32), "samples": windows[:, 1000:1010].copy()}


def test_the_distance_is_mahalanobis_with_ledoit_and_wolfs_covariance() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((60, 8)) @ rng.standard_normal((8, 8))).astype(np.float32)
    a, b = rng.standard_normal((2, 8))
    inverse = np.linalg.inv(LedoitWolf().fit(rows.astype(np.float64)).covariance_)
    assert np.linalg.norm((a - b) @ whitening(rows)) == pytest.approx(mahalanobis(a, b, inverse), rel=1e-6)


def test_every_window_gets_the_one_augmentation_with_parameters_of_its_own() -> None:
    windows = np.tile(np.sin(np.arange(4000) / 7).astype(np.float32), (5, 1))
    kind = AUGMENTATIONS.index("time_mask")
    masked = augment_all(Augmenter(AugmentConfig(), RATE), windows, kind)
    gaps = [tuple(np.flatnonzero((row == 0) & (windows[0] != 0))[[0, -1]]) for row in masked]
    assert len(set(gaps)) == 5
    outside = np.ones(4000, bool)
    for first, last in gaps:
        outside[max(0, first - 100) : last + 100] = False
    np.testing.assert_allclose(masked[:, outside], windows[:, outside], atol=1e-6)


def test_a_head_that_hears_the_spectrum_minds_pitch_and_not_time_shift_and_one_that_hears_samples_minds_both(
    tmp_path: Path,
) -> None:
    clips = read_folder(write_tones(tmp_path / "tones", 8, 10))
    found = invariance(TwoHeads(), [clips])
    assert (found["n_covariance"], found["n_held_out"]) == (40, 40)
    heads = found["heads"]
    assert list(heads) == ["spectrum", "samples", "all"]
    assert [heads[head]["size"] for head in heads] == [10, 10, 20]
    spectrum, samples = heads["spectrum"], heads["samples"]
    assert spectrum["time_shift"]["relative"] < 0.35
    assert samples["time_shift"]["relative"] > 0.7
    assert spectrum["pitch_shift"]["relative"] > 2 * spectrum["time_shift"]["relative"]
    for name in AUGMENTATIONS:
        entry = spectrum[name]
        assert entry["relative"] == pytest.approx(entry["distance"] / spectrum["other_clip"], rel=0.01)
        assert entry["half_width"] > 0


def test_of_a_long_clip_the_loudest_window_is_taken(tmp_path: Path) -> None:
    import soundfile

    x = 0.01 * np.random.default_rng(0).standard_normal(16_000)
    x[9000:11_000] += 0.5
    for name in ("a/1.wav", "b/1.wav"):
        (tmp_path / name).parent.mkdir()
        soundfile.write(tmp_path / name, x, RATE)
    windows = loudest_windows(TwoHeads(), [read_folder(tmp_path)], 10)
    assert windows.shape == (2, 4000)
    assert ((np.abs(windows) > 0.5).sum(axis=1) == 2000).all()


def test_weight_falls_to_the_head_that_tells_classes_apart_whatever_the_heads_scales_and_sizes() -> None:
    rng = np.random.default_rng(0)
    clips = a_set(6, 10)
    tasks = sample_tasks(clips, TaskSpec(n_tasks=50, k_shot=5, n_queries=3))
    telling = np.eye(6)[clips.labels] @ rng.standard_normal((6, 20)) + 0.1 * rng.standard_normal((60, 20))
    noise = rng.standard_normal((60, 60))
    heads = {"telling": (0.01 * telling).astype(np.float32), "noise": (100 * noise).astype(np.float32)}
    shares = weight_shares(heads, tasks)
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-3)
    assert shares["telling"] > 0.6
    same = weight_shares({"a": noise.astype(np.float32), "b": noise.astype(np.float32)}, tasks)
    assert same["a"] == pytest.approx(0.5, abs=1e-3)


def test_the_random_state_of_torch_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    augment_all(Augmenter(AugmentConfig(), RATE), np.zeros((2, 4000), np.float32), 0)
    assert torch.equal(before, torch.random.get_rng_state())
