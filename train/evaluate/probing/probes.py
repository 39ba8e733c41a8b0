"""Classifiers on frozen embeddings, each for many tasks at once.

All of them are linear in the support, so that they need inner products alone: a task of S support clips is an (S, S)
matrix, however wide the embedding. Shapes: T tasks, W = n_way, K = k_shot, S = W * K support clips, class by class,
Q clips that are asked about, D size of the embedding.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.evaluate.probing.sgd import published_sgd
from train.evaluate.sets import IntArray
from train.evaluate.tasks import Tasks

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]

_AT_A_TIME = 250
"""Tasks computed together: few enough for their clips to stay in a few dozen MB."""


@dataclass(frozen=True, slots=True)
class Products:
    """Inner products of some tasks' clips."""

    support: DoubleArray
    """(T, S, S) of support clips with each other."""
    asked: DoubleArray
    """(T, Q, S) of the clips that are asked about with the support."""
    n_way: int

    @property
    def k_shot(self) -> int:
        """Support clips of a class."""
        return self.support.shape[1] // self.n_way

    @property
    def one_hot(self) -> DoubleArray:
        """(S, W) classes of the support."""
        return np.repeat(np.eye(self.n_way), self.k_shot, axis=0)


@dataclass(frozen=True, slots=True)
class Probe:
    """A classifier."""

    description: str
    unit_length: bool
    """Whether embeddings are brought to unit length first."""
    scores: Callable[[Products], DoubleArray]
    """(T, Q, W) scores; the largest one names the class, and how large it is says how well it is known."""


def unit_length(x: FloatArray) -> FloatArray:
    """Scale each row of (n, D) to length 1; zeros stay."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def nearest_prototype(products: Products) -> DoubleArray:
    """Cosine to each class's mean (Snell et al. 2017, arXiv:1703.05175, with cosines): (T, Q, W)."""
    n_tasks, n_asked, _ = products.asked.shape
    w, k = products.n_way, products.k_shot
    blocks = products.support.reshape(n_tasks, w, k, w, k)
    squared = np.einsum("twkwl->tw", blocks)  # (T, W) squared length of each class's sum
    sums = products.asked.reshape(n_tasks, n_asked, w, k).sum(axis=3)
    return sums / np.sqrt(np.maximum(squared, 1e-24))[:, None, :]


def logistic_regression(c: float) -> Callable[[Products], DoubleArray]:
    """Multinomial logistic regression with an L2 penalty, as scikit-learn's with ``C=c``: class probabilities.

    Its weights are sums of support clips, so that it is the mode of a Gaussian process's posterior with covariance
    ``c * X X^T`` and is found as such: Newton's method, Rasmussen and Williams 2006, algorithm 3.3. The intercept,
    which scikit-learn does not penalise, gets a prior so wide that it makes no difference.
    """

    def scores(products: Products) -> DoubleArray:
        a, intercept = posterior_mode(products, c)
        logits = c * products.asked @ a + intercept[:, None, :]
        return _softmax(logits)

    return scores


_INTERCEPT_VARIANCE = 1e4
"""Over the weights' variance ``c``: with less, the intercept is held back, with more, rounding shows."""
_MOST_STEPS = 60
_TOLERANCE = 1e-6


def posterior_mode(products: Products, c: float) -> tuple[DoubleArray, DoubleArray]:
    """(T, S, W) coefficients of the support and (T, W) intercepts."""
    y = products.one_hot
    n_tasks, s, _ = products.support.shape
    covariance = c * (products.support + _INTERCEPT_VARIANCE)
    f = np.zeros((n_tasks, s, products.n_way))
    a = np.zeros_like(f)
    objective = np.full(n_tasks, -s * np.log(products.n_way))
    going = np.arange(n_tasks)
    for _ in range(_MOST_STEPS):
        step = _newton(covariance[going], f[going], y) - a[going]
        # A full step may overshoot: halve it where the objective falls.
        size = np.ones(len(going))
        better = np.zeros(len(going), dtype=bool)
        for _ in range(12):
            trial_a = a[going] + size[:, None, None] * step
            trial_f = covariance[going] @ trial_a
            value = _objective(trial_a, trial_f, y)
            better = value >= objective[going] - 1e-9
            if better.all():
                break
            size[~better] /= 2
        moved = np.abs(size[:, None, None] * step).max(axis=(1, 2))
        a[going[better]], f[going[better]] = trial_a[better], trial_f[better]
        objective[going[better]] = value[better]
        going = going[better & (moved > _TOLERANCE)]
        if not len(going):
            break
    return a, c * _INTERCEPT_VARIANCE * a.sum(axis=1)


def _newton(covariance: DoubleArray, f: DoubleArray, y: DoubleArray) -> DoubleArray:
    """Where a full Newton step leads from ``f``: (T, S, W) coefficients ``a`` with ``f = covariance @ a``."""
    p = _softmax(f)
    classwise = p.transpose(0, 2, 1)  # (T, W, S)
    root = np.sqrt(classwise)
    inner = root[..., :, None] * covariance[:, None] * root[..., None, :]
    inner[..., np.arange(f.shape[1]), np.arange(f.shape[1])] += 1.0
    e = root[..., :, None] * np.linalg.inv(inner) * root[..., None, :]  # (T, W, S, S)
    b = p * (f - (p * f).sum(axis=2, keepdims=True)) + y - p
    spread = (e @ (covariance @ b).transpose(0, 2, 1)[..., None])[..., 0]  # (T, W, S)
    shared = np.linalg.solve(e.sum(axis=1), spread.sum(axis=1)[..., None])  # (T, S, 1)
    back = (e @ shared[:, None])[..., 0]
    return b - spread.transpose(0, 2, 1) + back.transpose(0, 2, 1)


def _objective(a: DoubleArray, f: DoubleArray, y: DoubleArray) -> DoubleArray:
    """(T,) log posterior up to a constant."""
    top = f.max(axis=2)
    log_sum = top + np.log(np.exp(f - top[..., None]).sum(axis=2))
    return -0.5 * (a * f).sum(axis=(1, 2)) + (f * y).sum(axis=(1, 2)) - log_sum.sum(axis=1)


def _softmax(x: DoubleArray) -> DoubleArray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _sgd(products: Products) -> DoubleArray:
    return published_sgd(products.support, products.asked, products.n_way)


PROBES: dict[str, Probe] = {
    "logistic": Probe("multinomial logistic regression, unit length, C = 1", True, logistic_regression(1.0)),
    "logistic-c100": Probe("multinomial logistic regression, unit length, C = 100", True, logistic_regression(100.0)),
    "prototype": Probe("nearest class mean, cosine", True, nearest_prototype),
    "sgd": Probe("the paper's: one-vs-rest SGD on unscaled embeddings", False, _sgd),
}
"""By name; the first one gives the main figure."""


@dataclass(frozen=True, slots=True)
class TaskScores:
    """A probe's answers to tasks."""

    queries: FloatArray
    """(T, W, Q, W) scores; not a number where there is no query."""
    unknown: FloatArray
    """(T, U, W) scores of clips of other classes."""


def score_tasks(
    embeddings: FloatArray, tasks: Tasks, probes: Mapping[str, Probe], asked: FloatArray | None = None
) -> dict[str, TaskScores]:
    """Fit each probe to each task's support and let it answer.

    Args:
        embeddings: (n_clips, D) float32.
        tasks: On these clips.
        probes: What classifies, by name.
        asked: (n_clips, D) embeddings of the same clips as they are asked about, where that is not as they were taught.
    """
    asked = embeddings if asked is None else asked
    shape = tasks.queries.shape
    results = {
        name: TaskScores(
            np.empty((*shape, shape[1]), dtype=np.float32), np.empty((*tasks.unknown.shape, shape[1]), dtype=np.float32)
        )
        for name in probes
    }
    for unit in (True, False):
        chosen = {name: probe for name, probe in probes.items() if probe.unit_length is unit}
        x, y = (unit_length(embeddings), unit_length(asked)) if unit else (embeddings, asked)
        for some in _parts(len(tasks.support)) if chosen else ():
            products = _products(x, y, tasks, some)
            for name, probe in chosen.items():
                scores = probe.scores(products)
                n_queries = shape[1] * shape[2]
                results[name].queries[some] = scores[:, :n_queries].reshape(-1, *shape[1:], shape[1])
                results[name].unknown[some] = scores[:, n_queries:]
    for result in results.values():
        result.queries[tasks.queries < 0] = np.nan
    return results


def _products(x: FloatArray, y: FloatArray, tasks: Tasks, some: slice) -> Products:
    """Some tasks' inner products of the support in ``x``, and with all queries and then the unknown clips in ``y``."""
    n_way = tasks.support.shape[1]
    support = x[tasks.support[some].reshape(-1, n_way * tasks.spec.k_shot)]
    clips = np.concatenate([tasks.queries[some].reshape(len(support), -1), tasks.unknown[some]], axis=1)
    asked = y[np.maximum(clips, 0)]
    across = support.transpose(0, 2, 1)
    return Products((support @ across).astype(np.float64), (asked @ across).astype(np.float64), n_way)


def _parts(n: int) -> Iterator[slice]:
    for first in range(0, n, _AT_A_TIME):
        yield slice(first, min(n, first + _AT_A_TIME))


def answers(scores: TaskScores) -> IntArray:
    """(T, W, Q) class given to each query, as its place in the task; -1 where there is no query."""
    missing = np.isnan(scores.queries[..., 0])
    chosen = np.where(missing[..., None], 0.0, scores.queries).argmax(axis=3)
    return np.where(missing, -1, chosen)


def class_accuracies(scores: TaskScores) -> DoubleArray:
    """(T, W) share of each class's queries that are given to it."""
    chosen = answers(scores)
    right = chosen == np.arange(chosen.shape[1])[None, :, None]
    return np.asarray(right.sum(axis=2) / (chosen >= 0).sum(axis=2))
