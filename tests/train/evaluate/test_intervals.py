import itertools

import numpy as np
import pytest

from train.evaluate.probing.intervals import class_influence, estimate, estimate_share

N_WAY = 5


def world(rng: np.random.Generator, n_classes: int, n_tasks: int) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies (T,) of tasks of N_WAY of some classes, told apart by the nearest mean."""
    centres = 0.8 * rng.standard_normal((n_classes, 3))
    classes = np.argsort(rng.random((n_tasks, n_classes)), axis=1)[:, :N_WAY]
    chosen = centres[classes]  # (T, W, 3)
    queries = chosen[:, :, None] + rng.standard_normal((n_tasks, N_WAY, 5, 3))
    means = chosen + 0.7 * rng.standard_normal((n_tasks, N_WAY, 3))
    distance = np.square(queries[:, :, :, None] - means[:, None, None]).sum(axis=-1)
    right = distance.argmin(axis=-1) == np.arange(N_WAY)[None, :, None]
    return right.mean(axis=(1, 2)), classes


@pytest.mark.parametrize("n_classes", [8, 20])
def test_the_interval_covers_what_other_classes_would_give_and_one_over_tasks_alone_does_not(n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    truth = np.mean([world(rng, N_WAY, 20)[0].mean() for _ in range(800)])
    covered = covered_by_tasks = 0
    n_worlds = 100
    for _ in range(n_worlds):
        found = estimate(*world(rng, n_classes, 200), n_replicates=200)
        assert found.low < found.mean < found.high
        covered += found.low <= truth <= found.high
        covered_by_tasks += abs(found.mean - truth) <= found.half_width_tasks
    assert covered >= 87
    assert covered_by_tasks <= 60


def test_without_differences_between_classes_only_tasks_count() -> None:
    """Fair coins: what looks like a difference between classes is chance, and is not counted twice."""
    rng = np.random.default_rng(0)
    classes = np.argsort(rng.random((5000, 40)), axis=1)[:, :N_WAY]
    values = rng.binomial(50, 0.5, 5000) / 50
    found = estimate(values, classes)
    assert found.mean == pytest.approx(0.5, abs=0.004)
    assert found.half_width_tasks == pytest.approx(1.96 * np.sqrt(0.25 / 50 / 5000), rel=0.05)
    assert 1.0 < (found.high - found.low) / (2 * found.half_width_tasks) < 2.0


def test_if_every_task_holds_all_classes_the_interval_counts_tasks_and_says_so() -> None:
    rng = np.random.default_rng(0)
    values = rng.binomial(50, 0.7, 4000) / 50
    found = estimate(values, np.tile(np.arange(N_WAY), (4000, 1)))
    assert not found.counts_classes
    assert (found.high - found.low) / 2 == pytest.approx(found.half_width_tasks, rel=0.1)


def test_a_classs_influence_is_the_jackknifes_deviation_of_leaving_it_out() -> None:
    """With each combination of classes many times and no noise but the classes'."""
    n_classes = 7
    worth = np.random.default_rng(0).random(n_classes)
    classes = np.array(list(itertools.combinations(range(n_classes), N_WAY)) * 50)
    values = worth[classes].mean(axis=1)
    mean = values.mean()
    left_out = [values[~(classes == c).any(axis=1)].mean() for c in range(n_classes)]
    pseudo = n_classes * mean - (n_classes - 1) * np.array(left_out)
    np.testing.assert_allclose(class_influence(values, classes), pseudo - mean, rtol=0.05)


def test_what_is_not_a_number_is_left_out() -> None:
    classes = np.argsort(np.random.default_rng(0).random((50, 8)), axis=1)[:, :N_WAY]
    values = np.full(50, 0.25)
    values[:10] = np.nan
    found = estimate(values, classes)
    assert (found.mean, found.low, found.high) == (0.25, pytest.approx(0.25), pytest.approx(0.25))


def test_the_interval_of_a_share_stays_within_the_shares_there_are() -> None:
    rng = np.random.default_rng(0)
    classes = np.array([rng.choice(6, 5, replace=False) for _ in range(300)])
    values = np.where((classes == 0).any(axis=1), 0.6, 1.0)
    whole, share = estimate(values, classes), estimate_share(values, classes)
    assert whole.high > 1.0
    assert (share.mean, share.low, share.high) == (whole.mean, max(0.0, whole.low), 1.0)
    assert np.isnan(estimate_share(np.array([np.nan]), classes[:1]).low)
