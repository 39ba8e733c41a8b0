"""The published evaluation's classifier, for many tasks at once.

scikit-learn's ``SGDClassifier`` as the evaluation repository sets it (``classifiers_/sklLinear.py``): one classifier
for each class against the rest, log loss, no penalty, ``learning_rate="adaptive"``, ``eta0=0.1``, at most 20 passes,
``tol=1e-4``, ``n_iter_no_change=2``. A step adds a multiple of one support clip to the weights, so that they are kept
as coefficients of the support. Shapes: T tasks, W classes, S support clips, Q clips that are asked about.
"""

import numpy as np
import numpy.typing as npt

DoubleArray = npt.NDArray[np.float64]

ETA0, MAX_PASSES, TOLERANCE, PATIENCE = 0.1, 20, 1e-4, 2
_LEAST_ETA = 1e-6
_LARGEST_STEP = 1e12
"""scikit-learn's bound on the loss's derivative."""


def published_sgd(
    support: DoubleArray,
    asked: DoubleArray,
    n_way: int,
    *,
    rng: np.random.Generator | None = None,
    shuffle: bool = True,
) -> DoubleArray:
    """One-vs-rest probabilities, normalised to sum 1 as ``predict_proba`` does.

    Args:
        support: (T, S, S) inner products of the support clips, class by class.
        asked: (T, Q, S) inner products with the support.
        n_way: W.
        rng: Of the order of the clips in each pass; None: the same one each time.
        shuffle: Whether the order changes at all.

    Returns:
        (T, Q, W).
    """
    rng = np.random.default_rng(0) if rng is None else rng
    n_tasks, s, _ = support.shape
    sign = np.repeat(np.eye(n_way), s // n_way, axis=0) * 2 - 1  # (S, W)
    coefficients = np.zeros((n_tasks, n_way, s))
    intercept = np.zeros((n_tasks, n_way))
    eta = np.full((n_tasks, n_way), ETA0)
    best = np.full((n_tasks, n_way), np.inf)
    stale = np.zeros((n_tasks, n_way), dtype=np.int64)
    going = np.ones((n_tasks, n_way), dtype=bool)
    rows = np.arange(n_tasks)
    for _ in range(MAX_PASSES):
        order = np.argsort(rng.random((n_tasks, s)), axis=1) if shuffle else np.tile(np.arange(s), (n_tasks, 1))
        loss = np.zeros((n_tasks, n_way))
        for clip in order.T:
            y = sign[clip]  # (T, W)
            margin = y * ((coefficients @ support[rows, clip][..., None])[..., 0] + intercept)
            loss += np.logaddexp(0.0, -margin)
            step = np.clip(-y * np.exp(-np.logaddexp(0.0, margin)), -_LARGEST_STEP, _LARGEST_STEP)
            update = np.where(going, -eta * step, 0.0)
            coefficients[rows, :, clip] += update
            intercept += update
        no_better = loss > best - TOLERANCE * s
        stale = np.where(no_better, stale + 1, 0)
        best = np.where(going, np.minimum(best, loss), best)
        slower = going & (stale >= PATIENCE)
        going &= ~(slower & (eta <= _LEAST_ETA))
        eta = np.where(slower & (eta > _LEAST_ETA), eta / 5, eta)
        stale = np.where(slower, 0, stale)
        if not going.any():
            break
    decision = asked @ coefficients.transpose(0, 2, 1) + intercept[:, None, :]
    probability = 1 / (1 + np.exp(-np.clip(decision, -500, 500)))
    # In the order of predict_proba's sums; where all classes are denied it gives each the same.
    total = probability.sum(axis=2, keepdims=True)
    return np.where(total > 0, probability / np.maximum(total, 1e-300), 1 / n_way)
