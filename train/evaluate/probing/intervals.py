"""Intervals that count what was drawn: tasks and classes alike.

Ten thousand tasks over ten classes are still ten classes. An interval over tasks alone says how well these classes were
measured; what a reader takes it for, how well other classes of the kind will do, it misses by a factor of ten and more.
Shapes: T tasks, W = n_way, C classes, B replicates.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from train.evaluate.sets import IntArray

DoubleArray = npt.NDArray[np.float64]

N_REPLICATES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    half_width_tasks: float
    """Of an interval over tasks alone, 1.96 standard errors, as the paper gives it."""
    counts_classes: bool
    """False where every task holds all classes: then the interval cannot but count tasks alone."""

    def to_dict(self) -> dict[str, float | bool]:
        """Plain values, rounded to four places."""
        return {
            "mean": round(self.mean, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "half_width_tasks": round(self.half_width_tasks, 4),
            "counts_classes": self.counts_classes,
        }


def estimate(values: DoubleArray, classes: IntArray, seed: int = 0, n_replicates: int = N_REPLICATES) -> Estimate:
    """Mean of a figure over tasks, with a bootstrap over classes and, within them, tasks.

    Args:
        values: (T,) the figure of each task; what is not a number is left out.
        classes: (T, W) the classes of each task.
        seed: Of the replicates.
        n_replicates: B.
    """
    there = np.isfinite(values)
    values, classes = values[there], classes[there]
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, np.nan, False)
    drawn = replicates(values, classes, seed, n_replicates)
    low, high = np.quantile(drawn, [0.025, 0.975])
    half = 1.96 * float(values.std()) / np.sqrt(len(values))
    counts = len(np.unique(classes)) > classes.shape[1]
    return Estimate(float(values.mean()), float(low), float(high), float(half), counts)


def estimate_share(values: DoubleArray, classes: IntArray) -> Estimate:
    """As :func:`estimate`, of a figure that lies in [0, 1]: so does its interval."""
    found = estimate(values, classes)
    return replace(found, low=float(np.clip(found.low, 0.0, 1.0)), high=float(np.clip(found.high, 0.0, 1.0)))


def replicates(values: DoubleArray, classes: IntArray, seed: int, n_replicates: int) -> DoubleArray:
    """(B,) means over tasks drawn with replacement, moved as far as classes drawn with replacement move them.

    Args:
        values: (T,) the figure of each task.
        classes: (T, W) the classes of each task.
        seed: Of what is drawn.
        n_replicates: B.
    """
    rng = np.random.default_rng(seed)
    influence = class_influence(values, classes)
    n_tasks, n_classes = len(values), len(influence)
    # Few classes drawn with replacement vary less than classes do: Hesterberg 2015 (The American Statistician 69:371).
    influence = influence * float(student_t.ppf(0.975, n_classes - 1)) / 1.96 * np.sqrt(n_classes / (n_classes - 1))
    result = np.empty(n_replicates)
    for b in range(n_replicates):
        result[b] = values[rng.integers(n_tasks, size=n_tasks)].mean()
        result[b] += influence[rng.integers(n_classes, size=n_classes)].mean()
    return result


def class_influence(values: DoubleArray, classes: IntArray) -> DoubleArray:
    """What the mean owes to each class, (C,) with mean 0; zeros where every task holds all classes.

    The mean over tasks of W of C classes is a U-statistic of degree W. What it owes to a class is its jackknife
    pseudo-value's deviation, ``(C - 1) W / (C - W)`` times that of the mean over tasks with the class (Arvesen 1969;
    Efron and Stein 1981). That mean is itself over a limited number of tasks, whose share of the variance is taken off.
    """
    names, index = np.unique(classes, return_inverse=True)
    n_tasks, n_way = classes.shape
    n_classes = len(names)
    if n_classes <= n_way:
        return np.zeros(n_classes)
    index = index.reshape(-1)
    counts = np.bincount(index, minlength=n_classes)
    with_class = np.bincount(index, weights=np.repeat(values, n_way), minlength=n_classes) / counts
    deviation = with_class - with_class.mean()
    noise = float(values.var() * np.mean(1 / counts - 1 / n_tasks))
    variance = float(deviation.var())
    share = max(0.0, 1 - noise / variance) if variance > 0 else 0.0
    return np.sqrt(share) * (n_classes - 1) * n_way / (n_classes - n_way) * deviation
