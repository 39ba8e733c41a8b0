"""Fisher's discriminant of every sound over the heads of the network, and what it would be without each recording.

For few clips a closed form has two advantages over logistic regression: it needs no iteration, and leaving one
recording out changes two matrices by rank one, so that the score of every recording by a discriminant that has not
seen it comes for the price of one fit.

Shapes: R recordings, W windows of them, S sounds, B windows of the model's bank, D size of the embedding, P parts of
it.
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
    """The recordings of the sounds, and what else a sound is told apart from."""

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
    """For each sound a direction, with its threshold half way to everything else."""

    weights: Float64Array
    """(S, D)."""
    bias: Float64Array
    """(S,)."""
    held_out: Float64Array
    """(W, S) score of each window by discriminants that its recording is no part of; not a number for the own sound
    of a recording that is the only one of it."""


@dataclass(frozen=True, slots=True)
class Background:
    """The bank's moments."""

    mean: Float64Array
    """(D,)."""
    covariance: Float64Array
    """(D, D)."""

    @classmethod
    def of(cls, bank: FloatArray) -> "Background":
        """Moments of (B, D) windows."""
        mean = bank.mean(axis=0, dtype=np.float64)
        centred = bank - mean.astype(np.float32)
        return cls(mean, (centred.T @ centred).astype(np.float64) / len(bank))

    def noise(self, columns: slice) -> Float64Array:
        """Covariance of some of the columns, with the ridge on its diagonal."""
        covariance = self.covariance[columns, columns].copy()
        covariance[np.diag_indices_from(covariance)] += _SHRINKAGE * np.trace(covariance) / len(covariance)
        return covariance


class Family:
    """Discriminants from the same recordings, by any parts of the embedding.

    The direction of a sound is ``inv(N + a S) (m - n)``: ``N`` the noise, ``S`` the scatter of recordings about the
    mean ``m`` of their sound, ``n`` the mean of everything else (Fisher 1936; Hastie, Tibshirani and Friedman, "The
    Elements of Statistical Learning", section 4.3). With one part ``N`` is the bank's covariance in it. With several it
    has a block for each, the bank's covariance divided by the part's share: the smaller the share, the noisier the part
    is taken to be. How recordings of a sound differ in several parts at once is in ``S``.

    ``S`` has no higher rank than there are recordings, so that all is computed between them (Woodbury 1950), from sums
    over parts of share times product; the products are computed once.
    """

    def __init__(self, taught: Taught, background: Background, parts: Sequence[slice]) -> None:
        """Compute what is the same whatever the shares.

        Args:
            taught: The recordings.
            background: Moments of the model's bank.
            parts: Columns of each part. Parts that overlap must not have shares of one discriminant.
        """
        from scipy.linalg import cho_factor, cho_solve  # slow to import, and not needed for listening

        sound, n_sounds = taught.sound, int(taught.sound.max()) + 1
        counts = np.bincount(sound, minlength=n_sounds)
        means, windows = taught.means - background.mean, taught.windows - background.mean
        centres = np.zeros((n_sounds, means.shape[1]))
        np.add.at(centres, sound, means / counts[sound, None])
        deviations = means - centres[sound]
        others = (1.0 - np.eye(n_sounds)) / max(1, n_sounds - 1)
        share = 0.5 if n_sounds > 1 else 0.0  # of the other sounds in "everything else"
        elsewhere = share * others @ centres + (1.0 - share) * _rest(taught, background)
        differences, middles = centres - elsewhere, (centres + elsewhere) / 2.0

        self._owner, self._sound, self._several = taught.owner, sound, counts[sound] > 1
        self._parts, self._origin = tuple(parts), background.mean
        self._scatter = _OWN_SCATTER / max(1, len(sound) - n_sounds)
        # Without recording i, its sound's centre and so the others' "elsewhere" move along its deviation, by (R, S)
        # steps; the only recording of a sound is left in.
        fewer = np.maximum(counts[sound] - 1.0, 1.0)
        of_centre = -np.eye(n_sounds)[sound] * (self._several / fewer)[:, None]
        of_elsewhere = -share * others[sound] * (self._several / fewer)[:, None]
        self._of_difference, self._of_middle = of_centre - of_elsewhere, (of_centre + of_elsewhere) / 2.0
        self._lost = np.where(self._several, self._scatter * (fewer + 1.0) / fewer, 0.0)

        self._solved, products = [], []
        for part in self._parts:
            factor = cho_factor(background.noise(part), lower=True, overwrite_a=True)
            solved = cho_solve(factor, np.concatenate([deviations, differences])[:, part].T)
            products.append([rows[:, part] @ solved for rows in (deviations, windows, middles)])
            self._solved.append(solved.T)
        self._deviations, self._windows, self._middles = (np.stack(each) for each in zip(*products, strict=True))

    def fit(self, shares: Float64Array) -> Discriminants:
        """The discriminants with (S, P) shares of the parts."""
        n_sounds, n = len(shares), len(self._sound)
        weights, bias = np.zeros((n_sounds, len(self._origin))), np.zeros(n_sounds)
        held_out = np.zeros((len(self._owner), n_sounds))
        for row in np.unique(shares, axis=0):
            mine, used = np.flatnonzero((shares == row).all(axis=1)), np.flatnonzero(row)
            deviations, windows, middles = (
                np.tensordot(row[used], products[used], axes=1)
                for products in (self._deviations, self._windows, self._middles)
            )  # (R, R + S), (W, R + S), (S, R + S): over the noise, with deviations and with differences
            inverse = np.linalg.inv(np.eye(n) / self._scatter + deviations[:, :n])
            taken = inverse @ deviations[:, n + mine]  # (R, sounds) of each deviation from the direction
            for part, share in zip(used, row[used], strict=True):
                solved = self._solved[part]
                weights[mine, self._parts[part]] += share * (solved[n + mine] - taken.T @ solved[:n])
            bias[mine] = -(middles[mine, n + mine] - np.sum(middles[mine, :n] * taken.T, axis=1))

            # The same without each recording (Sherman and Morrison 1950).
            length = (
                1.0 - np.diag(inverse) / self._scatter
            ) / self._scatter  # of its deviation, over noise and scatter
            on_direction = taken / self._scatter
            on_middle = inverse @ middles[mine, :n].T / self._scatter
            gain = (self._lost / (1.0 - self._lost * length))[:, None]
            of_difference, of_middle = self._of_difference[:, mine], self._of_middle[:, mine]
            of_weights = of_difference + gain * (on_direction + of_difference * length[:, None])
            new_bias = bias[mine] - of_middle * on_direction - of_weights * (on_middle + of_middle * length[:, None])
            along = np.einsum("wr,rw->w", windows[:, :n], inverse[:, self._owner]) / self._scatter
            whole = windows[:, n + mine] - windows[:, :n] @ taken
            held_out[:, mine] = whole + along[:, None] * of_weights[self._owner] + new_bias[self._owner]
        single = np.flatnonzero(~self._several[self._owner])
        held_out[single, self._sound[self._owner[single]]] = np.nan
        return Discriminants(weights, bias - weights @ self._origin, held_out)


def _rest(taught: Taught, background: Background) -> Float64Array:
    """(S, D) mean of what is no sound, less the bank's: of bank, room and what a sound is confused with."""
    rows = np.zeros((len(taught.confusable), len(background.mean)))
    for row, confusable in zip(rows, taught.confusable, strict=True):
        parts = [part.mean(axis=0) - background.mean for part in (taught.room, confusable) if len(part)]
        row += sum(parts) / (len(parts) + 1.0) if parts else 0.0
    return rows
