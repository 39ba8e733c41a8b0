import numpy as np
import pytest

from export.graph.whitening import POWERS, RIDGE, Whitening


def rows_of_spread(*spreads: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((len(spreads), len(spreads))))[0]
    return (rng.standard_normal((20_000, len(spreads))) * spreads) @ turn.T + 3.0


def test_the_directions_of_a_whitened_head_have_the_same_spread_up_to_the_ridge() -> None:
    rows = rows_of_spread(10.0, 2.0, 1.0)
    out = Whitening.of("invariant", rows).apply(rows)
    assert POWERS["invariant"] == 1.0
    variances = np.sort(np.linalg.eigvalsh(np.cov(out.T)))
    ridge = RIDGE * (100 + 4 + 1) / 3
    expected = np.sort(np.array([100, 4, 1]) / (np.array([100, 4, 1]) + ridge))
    np.testing.assert_allclose(variances / variances.max(), expected / expected.max(), rtol=0.03)


def test_a_head_that_a_teacher_taught_keeps_the_root_of_its_spread() -> None:
    rows = rows_of_spread(10.0, 2.0)
    variances = np.sort(np.linalg.eigvalsh(np.cov(Whitening.of("events", rows).apply(rows).T)))
    ridge = RIDGE * (100 + 4) / 2
    expected = np.array([4 / np.sqrt(4 + ridge), 100 / np.sqrt(100 + ridge)])
    assert variances[1] / variances[0] == pytest.approx(expected[1] / expected[0], rel=0.03)


def test_the_corpus_mean_is_taken_out_and_nothing_is_turned() -> None:
    rows = rows_of_spread(10.0, 2.0, 1.0)
    whitening = Whitening.of("sensitive", rows)
    np.testing.assert_allclose(whitening.apply(rows).mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(whitening.matrix, whitening.matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(whitening.matrix).min() > 0  # symmetric and positive: a stretch, no rotation


def test_a_head_that_says_the_same_of_every_sound_stays_finite() -> None:
    whitening = Whitening.of("events", np.full((50, 4), 2.0))
    assert np.isfinite(whitening.matrix).all()
    np.testing.assert_allclose(whitening.apply(np.full((2, 4), 2.0)), 0.0, atol=1e-6)
