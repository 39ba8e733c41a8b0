import numpy as np
import pytest
from sklearn.metrics import det_curve, roc_auc_score

from train.evaluate.probing.open_set import aurocs, detection_curve
from train.evaluate.probing.probes import TaskScores


def scores(seed: int = 0, shift: float = 1.0) -> TaskScores:
    rng = np.random.default_rng(seed)
    queries = rng.standard_normal((40, 5, 4, 5)).astype(np.float32) + np.float32(shift)
    queries[::3, 2, 2:] = np.nan
    return TaskScores(queries, rng.standard_normal((40, 6, 5)).astype(np.float32))


def test_the_auroc_of_a_task_is_scikit_learns() -> None:
    found = scores()
    got = aurocs(found)
    for t in range(40):
        known = found.queries[t].max(axis=2).ravel()
        known = known[~np.isnan(known)]
        unknown = found.unknown[t].max(axis=1)
        truth = np.repeat([1, 0], [len(known), len(unknown)])
        assert got[t] == pytest.approx(roc_auc_score(truth, np.concatenate([known, unknown])))


def test_ties_count_half() -> None:
    equal = TaskScores(np.ones((1, 5, 2, 5), np.float32), np.ones((1, 3, 5), np.float32))
    assert aurocs(equal).tolist() == [0.5]


def test_the_curve_lies_on_scikit_learns_and_runs_from_all_accepted_to_all_rejected() -> None:
    found = scores(shift=0.7)
    curve = detection_curve(found)
    known = found.queries.max(axis=3)
    known = known[~np.isnan(known)]
    unknown = found.unknown.max(axis=2).ravel()
    truth = np.repeat([1, 0], [len(known), len(unknown)])
    false_accept, false_reject, _ = det_curve(truth, np.concatenate([known, unknown]))
    order = np.argsort(false_accept)
    expected = np.interp(curve.false_accept, false_accept[order], false_reject[order])
    inside = (curve.false_accept > 0.02) & (curve.false_accept < 0.98)
    np.testing.assert_allclose(curve.false_reject[inside], expected[inside], atol=0.02)
    assert (np.diff(curve.false_accept) <= 0).all()
    assert (np.diff(curve.false_reject) >= 0).all()
    assert (curve.false_accept[0], curve.false_reject[0]) == (1.0, 0.0)
    assert (curve.false_accept[-1], curve.false_reject[-1]) == (0.0, 1.0)
    middle = int(np.argmin(np.abs(false_accept - false_reject)))
    assert curve.equal_error == pytest.approx(false_accept[middle], abs=0.02)


def test_a_clip_that_nothing_is_known_of_is_rejected_first() -> None:
    found = scores()
    found.queries[:10] = -np.inf
    curve = detection_curve(found)
    assert np.isfinite(curve.false_reject).all()
    assert curve.false_reject[curve.false_accept < 1.0].min() > 0.2
