"""From a budget of false alarms to a threshold: how often a background exceeds it, beyond what was ever observed.

A day has 345,600 windows and each half of the model's bank 2,048: the tail of the scores is extrapolated with a
generalised Pareto distribution (Pickands 1975), whose shape is held near the exponential's, for a few dozen exceedances
say little of it. Where people talk all day a spoken word has many more false alarms than where all kinds of sounds are
alike, and a dog fewer: the halves of the bank are two such places, and the budget is to hold in either.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_app.listening.detector import DetectionConfig

DEFAULT_PER_DAY = 72.0
"""False alarms a day for each sound, where nobody set another budget. `make bench-openset` shows what one costs."""

FIRES_ABOVE = 0.6
"""A background fires the detector about as often as it lifts a window's score so far above its threshold, in units
of the score's spread. Both numbers were measured with the detector on hours of background: `make bench-openset`."""
EVENTS_A_WINDOW = 0.08
"""Events for each such window: they come in runs. Counted were 0.05 to 0.09."""

FEWEST = 20
"""Windows of a background from which a tail can be estimated."""
_TAIL_SHARE = 0.05
_FEWEST_EXCEEDANCES = 10
_SHAPE_PRIOR = 100.0
"""Exceedances that the prior, an exponential tail, counts as."""
_SHAPES = (-0.1, 0.5)
_HARDEST_SHARE = 1e-9
"""Tails that end are taken to go on with this share, so that no budget is out of reach."""

_WINDOWS_AN_HOUR = 3600.0 / DetectionConfig().hop_s

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tail:
    """The upper tail of a background's scores: P(score > t) = share * (1 + shape (t - start) / scale)^(-1 / shape)."""

    start: float
    share: float
    scale: float
    shape: float

    @classmethod
    def of(cls, scores: Float64Array) -> "Tail":
        """Fit the tail of (n,) scores by probability-weighted moments (Hosking and Wallis 1987)."""
        ordered = np.sort(scores)
        n_above = min(len(ordered) - 1, max(_FEWEST_EXCEEDANCES, round(_TAIL_SHARE * len(ordered))))
        start = float(ordered[-n_above - 1])
        excess = ordered[-n_above:] - start
        mean = max(float(excess.mean()), 1e-9)
        position = (np.arange(n_above) + 0.65) / n_above
        second = float(np.mean((1.0 - position) * excess))
        shape = 2.0 - mean / max(mean - 2.0 * second, 1e-9 * mean)
        trusted = float(np.clip(shape * n_above / (n_above + _SHAPE_PRIOR), *_SHAPES))
        return cls(start, n_above / len(ordered), mean * (1.0 - trusted), trusted)

    def share_above(self, score: float) -> float:
        """Share of windows above a score that is not below ``start``; below it, the share at ``start``."""
        excess = max(0.0, score - self.start) / self.scale
        if abs(self.shape) < 1e-6:
            return self.share * float(np.exp(-excess))
        base = max(0.0, 1.0 + self.shape * excess)
        return max(_HARDEST_SHARE, self.share * base ** (-1.0 / self.shape)) if base else _HARDEST_SHARE

    def score_at(self, share: float) -> float:
        """The score that so large a share of windows exceeds; ``start`` for a larger one than lies above it."""
        ratio = min(1.0, max(share, _HARDEST_SHARE) / self.share)
        if abs(self.shape) < 1e-6:
            return self.start - self.scale * float(np.log(ratio))
        return self.start + self.scale * (ratio**-self.shape - 1.0) / self.shape


@dataclass(frozen=True, slots=True)
class Threshold:
    """From where on a sound's score is evidence for it, and how often a background will fire."""

    score: float
    false_alarms_per_hour: float
    """Expected, of the background that fires more often."""
    n_exceeding: int
    """Windows of the backgrounds that lie where the detector fires."""
    n_windows: int
    """Windows of the backgrounds."""


def choose_threshold(bank: Float64Array, room: Float64Array, confusable: Float64Array, per_day: float) -> Threshold:
    """The lowest threshold that keeps a budget of false alarms.

    Args:
        bank: (n,) scores of the bank's windows, divided by their spread; see
            :class:`device_app.model.model_file.BackgroundBank` for its halves.
        room: (n,) scores of the person's room, divided by the same; passed over if fewer than :data:`FEWEST`.
        confusable: (n,) scores of what was named as not to be confused: none of them is to speak for the sound.
        per_day: The budget.
    """
    halves = np.array_split(bank, 2) if len(bank) >= 2 * FEWEST else [bank]
    backgrounds = [*halves, room] if len(room) >= FEWEST else halves
    tails = [Tail.of(scores) for scores in backgrounds]
    allowed = per_day / 24.0 / (EVENTS_A_WINDOW * _WINDOWS_AN_HOUR)
    score = max(tail.score_at(allowed) for tail in tails) - FIRES_ABOVE
    if len(confusable):
        score = max(score, float(confusable.max()))
    fires = score + FIRES_ABOVE
    return Threshold(
        score,
        per_hour(max(tail.share_above(fires) for tail in tails)),
        sum(int(np.sum(scores > fires)) for scores in backgrounds),
        sum(len(scores) for scores in backgrounds),
    )


def per_hour(share: float) -> float:
    """Events an hour if so large a share of a background's windows lies where the detector fires."""
    return share * EVENTS_A_WINDOW * _WINDOWS_AN_HOUR
