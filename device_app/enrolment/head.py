"""The head: which sound an embedding belongs to, if any. Fitted with scikit-learn, applied with numpy alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.errors import ProfileError
from device_app.files import npz, read_npz, write_aside

_C = 3.0
"""Inverse strength of the L2 penalty."""
_PRIOR_ODDS = 0.1
"""Windows of a taught sound to windows of anything else, as a listener meets them. In the fit they weigh the same, which
is put right afterwards (prior correction: King and Zeng 2001, "Logistic regression in rare events data", eq. 7). A
smaller one misses more and has fewer false alarms: `make bench-stream`."""


@dataclass(frozen=True, slots=True)
class Examples:
    """The embedded windows of one recording."""

    sound: str
    recording: str
    embeddings: FloatArray
    """(n_windows, size) float32, each row of unit length."""


@dataclass(frozen=True, slots=True)
class Head:
    """One logistic regression for each sound, against everything else."""

    sounds: tuple[str, ...]
    weights: FloatArray
    """(n_sounds, size) float32."""
    bias: FloatArray
    """(n_sounds,) float32."""
    model_id: str
    recordings: tuple[str, ...]
    """``sound:id`` of every recording that it was fitted on."""

    def score(self, embeddings: FloatArray) -> FloatArray:
        """Evidence of each window for each sound: (n, size) to (n, n_sounds), log-odds that it holds the sound."""
        return embeddings @ self.weights.T + self.bias

    def save(self, path: Path) -> None:
        """Write the head as npz: arrays and one JSON string, no pickle."""
        about = json.dumps({"sounds": self.sounds, "model_id": self.model_id, "recordings": self.recordings})
        write_aside(path, npz(about=about, weights=self.weights, bias=self.bias))

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read what :meth:`save` wrote.

        Raises:
            ProfileError: If the file is missing or damaged.
        """
        try:
            stored = read_npz(path)
            about = json.loads(str(stored["about"]))
            return cls(
                tuple(about["sounds"]),
                stored["weights"],
                stored["bias"],
                about["model_id"],
                tuple(about["recordings"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise ProfileError(f"{path} is missing or damaged: run `earmark refit`") from err


def fit_head(
    examples: Sequence[Examples],
    *,
    background: Sequence[Examples],
    bank: FloatArray,
    model_id: str,
    recordings: tuple[str, ...],
) -> Head:
    """Fit one logistic regression for each sound against the bank, the room and the other sounds.

    Args:
        examples: At least one recording of each sound.
        background: Recordings of the room, if there are any.
        bank: (n_windows, size) float32, the model's background bank.
        model_id: Of the model that made the embeddings.
        recordings: ``sound:id`` of every recording, kept in the head.
    """
    sounds = tuple(sorted({entry.sound for entry in examples}))
    negatives = np.concatenate([bank, *(entry.embeddings for entry in background)])
    size = bank.shape[1]
    weights, bias = np.zeros((len(sounds), size)), np.zeros(len(sounds))
    for i, sound in enumerate(sounds):
        own = [entry.embeddings for entry in examples if entry.sound == sound]
        others = [entry.embeddings for entry in examples if entry.sound != sound]
        weights[i], bias[i] = _fit(own, others, negatives)
    bias += np.log(_PRIOR_ODDS)
    return Head(sounds, weights.astype(np.float32), bias.astype(np.float32), model_id, recordings)


def _fit(
    own: Sequence[FloatArray], others: Sequence[FloatArray], negatives: FloatArray
) -> tuple[NDArray[np.float64], float]:
    """Weights (size,) and bias of one sound. Each recording weighs the same, and each side half."""
    from sklearn.linear_model import LogisticRegression  # slow to import, and not needed for listening
    from threadpoolctl import threadpool_limits

    parts = [*own, *others, negatives]
    labels = np.repeat([1] * len(own) + [0] * (len(others) + 1), [len(part) for part in parts])
    shares = [0.5 / len(own)] * len(own) + [0.25 / max(1, len(others))] * len(others) + [0.25 if others else 0.5]
    weight = np.concatenate([np.full(len(part), share / len(part)) for part, share in zip(parts, shares, strict=True)])
    model = LogisticRegression(C=_C, max_iter=200)
    with threadpool_limits(1):  # more threads wait for each other longer than these small products take
        model.fit(np.concatenate(parts), labels, sample_weight=weight * len(labels))
    return model.coef_[0], float(model.intercept_[0])
