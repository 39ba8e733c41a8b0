"""Clips of classes that were not taught: does the probe know that it does not know them?

A clip is accepted if its largest score reaches a threshold.
Shapes: T tasks, W = n_way, Q queries a class, U unknown clips.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.evaluate.probing.probes import TaskScores

DoubleArray = npt.NDArray[np.float64]

_N_POINTS = 101


@dataclass(frozen=True, slots=True)
class DetectionCurve:
    """False accepts against false rejects (a DET curve, Martin et al. 1997), over all tasks together."""

    false_accept: DoubleArray
    """(P,) share of unknown clips that are accepted, falling."""
    false_reject: DoubleArray
    """(P,) share of queries that are not, rising."""

    @property
    def equal_error(self) -> float:
        """Where both shares are alike."""
        gap = self.false_accept - self.false_reject
        place = int(np.argmin(np.abs(gap)))
        return float(self.false_accept[place] + self.false_reject[place]) / 2


def aurocs(scores: TaskScores) -> DoubleArray:
    """(T,) chance that a query has a larger score than an unknown clip of the same task; ties count half."""
    known = scores.queries.max(axis=3).reshape(len(scores.queries), -1)  # not a number where there is no query
    unknown = scores.unknown.max(axis=2)
    there = ~np.isnan(known)
    wins = (known[:, :, None] > unknown[:, None, :]) + 0.5 * (known[:, :, None] == unknown[:, None, :])
    return np.asarray(wins.mean(axis=2).sum(axis=1) / there.sum(axis=1))


def detection_curve(scores: TaskScores) -> DetectionCurve:
    """The curve at thresholds that spread evenly over the shares of either kind."""
    known = np.sort(scores.queries.max(axis=3)[~np.isnan(scores.queries).any(axis=3)])
    unknown = np.sort(scores.unknown.max(axis=2).ravel())
    shares = np.linspace(0, 1, _N_POINTS // 2 + 1)
    # No interpolation: a score may be minus infinity.
    quantiles = [np.quantile(scored, shares, method="inverted_cdf") for scored in (known, unknown)]
    thresholds = np.sort(np.concatenate([*quantiles, [np.inf]]))
    accepted = 1 - np.searchsorted(unknown, thresholds, side="left") / len(unknown)
    rejected = np.searchsorted(known, thresholds, side="left") / len(known)
    return DetectionCurve(accepted, rejected)
