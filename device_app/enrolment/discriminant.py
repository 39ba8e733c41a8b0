"""Fisher's discriminant of every sound in one head of the network, and what it would be without each recording.

For few clips a closed form has two advantages over logistic regression: it needs no iteration, and leaving one
recording out changes two matrices by rank one, so that the score of every recording by a discriminant that has not
seen it comes for the price of one fit.

Shapes: R recordings, W windows of them, S sounds, B windows of the model's bank, D size of the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray

_SHRINKAGE = 0.3
"""Part of the mean variance that is added to the bank's covariance on its diagonal (ridge)."""
_OWN_SCATTER = 2.0
"""How much the scatter of the taught sounds' recordings counts beside the covariance of the bank. See
`make bench-heads`."""

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Taught:
    """The recordings of the sounds in one head, and what else a sound is told apart from."""

    means: FloatArray
    """(R, D) mean of each recording's windows."""
    windows: FloatArray
    """(W, D) windows to be judged, recording after recording, of each at least one."""
    owner: NDArray[np.int64]
    """(W,) the recording of each of these, from 0."""
    sound: NDArray[np.int64]
    """(R,) the sound of each recording, from 0; each has at least one."""
    room: FloatArray
    """(n, D) windows of the person's own background; may be empty."""
    confusable: Sequence[FloatArray]
    """For each sound (n, D) windows of what it must not be confused with; may be empty."""


@dataclass(frozen=True, slots=True)
class Discriminants:
    """For each sound a direction in one head, with its threshold half way to everything else."""

    weights: Float64Array
    """(S, D)."""
    bias: Float64Array
    """(S,)."""
    held_out: Float64Array
    """(W, S) score of each window by discriminants that its recording is no part of; not a number for the own sound
    of a recording that is the only one of it."""

    def scaled(self, factor: float) -> "Discriminants":
        """The same, so many times as high."""
        return Discriminants(self.weights * factor, self.bias * factor, self.held_out * factor)


@dataclass(frozen=True, slots=True)
class Background:
    """The bank's moments in one head."""

    mean: Float64Array
    """(D,)."""
    covariance: Float64Array
    """(D, D)."""
    ridge: float
    """What is added on its diagonal."""

    @classmethod
    def of(cls, bank: FloatArray) -> "Background":
        """Moments of (B, D) windows."""
        mean = bank.mean(axis=0, dtype=np.float64)
        centred = bank - mean.astype(np.float32)
        return cls._shrunk(mean, (centred.T @ centred).astype(np.float64) / len(bank))

    def part(self, columns: slice) -> "Background":
        """The moments of some of the columns."""
        return self._shrunk(self.mean[columns], self.covariance[columns, columns])

    @classmethod
    def _shrunk(cls, mean: Float64Array, covariance: Float64Array) -> "Background":
        return cls(mean, covariance, _SHRINKAGE * float(np.trace(covariance)) / len(covariance))


def discriminants(taught: Taught, background: Background) -> Discriminants:
    """Fit all sounds in one head.

    The direction of a sound is ``inv(C + a S) (m - n)``: ``C`` the bank's covariance, ``S`` the scatter of recordings
    about the mean ``m`` of their sound, ``n`` the mean of everything else (Fisher 1936; Hastie, Tibshirani and
    Friedman, "The Elements of Statistical Learning", section 4.3). Its inverse without one recording follows from
    Sherman and Morrison (1950).
    """
    from scipy.linalg import cho_factor, cho_solve  # slow to import, and not needed for listening

    sound, n_sounds = taught.sound, int(taught.sound.max()) + 1
    counts = np.bincount(sound, minlength=n_sounds)
    means = taught.means - background.mean
    centres = np.zeros((n_sounds, means.shape[1]))
    np.add.at(centres, sound, means / counts[sound, None])
    deviations = means - centres[sound]
    scatter = _OWN_SCATTER / max(1, len(sound) - n_sounds)
    within = background.covariance + scatter * deviations.T @ deviations
    within[np.diag_indices_from(within)] += background.ridge
    factor = cho_factor(within, lower=True, overwrite_a=True)

    rest = _rest(taught, background)
    others = (1.0 - np.eye(n_sounds)) / max(1, n_sounds - 1)
    share = np.full(n_sounds, 0.5 if n_sounds > 1 else 0.0)  # of the other sounds in "everything else"
    elsewhere = share[:, None] * (others @ centres) + (1.0 - share[:, None]) * rest
    difference, middle = centres - elsewhere, (centres + elsewhere) / 2.0
    weights = cho_solve(factor, difference.T).T
    bias = -np.sum(weights * middle, axis=1)

    # Without recording i, its sound's centre and so the others' "elsewhere" move along its deviation, by (R, S) steps;
    # the only recording of a sound is left in.
    fewer = np.maximum(counts[sound] - 1.0, 1.0)[:, None]
    several = (counts[sound] > 1)[:, None]
    of_centre = np.where(several, -np.eye(n_sounds)[sound] / fewer, 0.0)
    of_elsewhere = np.where(several, -(share[:, None] * others)[:, sound].T / fewer, 0.0)
    of_difference, of_middle = of_centre - of_elsewhere, (of_centre + of_elsewhere) / 2.0
    turned = cho_solve(factor, deviations.T).T
    length = np.sum(turned * deviations, axis=1)[:, None]
    lost = np.where(several, scatter * (fewer + 1.0) / fewer, 0.0)
    gain = lost / (1.0 - lost * length)  # Sherman and Morrison
    of_weights = of_difference + gain * (turned @ difference.T + of_difference * length)
    new_bias = bias - of_middle * (deviations @ weights.T) - of_weights * (turned @ middle.T + of_middle * length)

    windows, owner = taught.windows - background.mean, taught.owner
    along = np.sum(windows * turned[owner], axis=1)[:, None]
    held_out = windows @ weights.T + along * of_weights[owner] + new_bias[owner]
    single = np.flatnonzero(~several[owner, 0])
    held_out[single, sound[owner[single]]] = np.nan
    return Discriminants(weights, bias - weights @ background.mean, held_out)


def _rest(taught: Taught, background: Background) -> Float64Array:
    """(S, D) mean of what is no sound, less the bank's: of bank, room and what a sound is confused with."""
    rows = np.zeros((len(taught.confusable), len(background.mean)))
    for row, confusable in zip(rows, taught.confusable, strict=True):
        parts = [part.mean(axis=0) - background.mean for part in (taught.room, confusable) if len(part)]
        row += sum(parts) / (len(parts) + 1.0) if parts else 0.0
    return rows
