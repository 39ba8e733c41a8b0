"""The head: which sound an embedding belongs to, if any. Fitted with scikit-learn, applied with numpy alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.errors import ProfileError
from device_app.files import npz, write_aside

_C = 100.0
"""Inverse strength of the L2 penalty."""
_ALARM_QUANTILE = 0.998
"""Share of left-out negative windows that must stay below a sound's threshold."""


@dataclass(frozen=True, slots=True)
class Examples:
    """The embedded windows of one recording."""

    sound: str
    recording: str
    embeddings: FloatArray
    """(n_windows, size) float32, each row of unit length."""


@dataclass(frozen=True, slots=True)
class Head:
    """One logistic regression for each sound, against everything else, with a threshold of its own."""

    sounds: tuple[str, ...]
    weights: FloatArray
    """(n_sounds, size) float32."""
    bias: FloatArray
    """(n_sounds,) float32."""
    threshold: FloatArray
    """(n_sounds,) float32: the log-odds from which a window speaks for the sound."""
    model_id: str
    recordings: tuple[str, ...]
    """``sound:id`` of every recording that it was fitted on."""

    def score(self, embeddings: FloatArray) -> FloatArray:
        """Evidence of each window for each sound: (n, size) to (n, n_sounds), log-odds above the sound's threshold."""
        return embeddings @ self.weights.T + self.bias - self.threshold

    def save(self, path: Path) -> None:
        """Write the head as npz: arrays and one JSON string, no pickle."""
        about = json.dumps({"sounds": self.sounds, "model_id": self.model_id, "recordings": self.recordings})
        write_aside(path, npz(about=about, weights=self.weights, bias=self.bias, threshold=self.threshold))

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read what :meth:`save` wrote.

        Raises:
            ProfileError: If the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                return cls(
                    tuple(about["sounds"]),
                    stored["weights"],
                    stored["bias"],
                    stored["threshold"],
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

    A threshold of its own lifts each sound above what it must not be taken for: scores of recordings that were left out
    of the fit on one side, scores of left-out negatives on the other.

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
    weights, bias, threshold = np.zeros((len(sounds), size)), np.zeros(len(sounds)), np.zeros(len(sounds))
    for i, sound in enumerate(sounds):
        own = [entry.embeddings for entry in examples if entry.sound == sound]
        others = [entry.embeddings for entry in examples if entry.sound != sound]
        weights[i], bias[i] = _fit(own, others, negatives)
        threshold[i] = _threshold(own, others, negatives)
    return Head(
        sounds,
        weights.astype(np.float32),
        bias.astype(np.float32),
        threshold.astype(np.float32),
        model_id,
        recordings,
    )


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


def _threshold(own: Sequence[FloatArray], others: Sequence[FloatArray], negatives: FloatArray) -> float:
    """Log-odds that separate left-out recordings of the sound from left-out negatives."""
    n_folds = min(5, len(own)) if len(own) > 1 else 2
    hits: list[FloatArray] = []
    alarms: list[FloatArray] = []
    for fold in range(n_folds):
        kept = [part for k, part in enumerate(own) if k % n_folds != fold] or list(own)
        left_out = [part for k, part in enumerate(own) if k % n_folds == fold] if len(own) > 1 else []
        kept_others = [part for k, part in enumerate(others) if k % n_folds != fold]
        weights, bias = _fit(kept, kept_others, negatives[np.arange(len(negatives)) % n_folds != fold])
        hits += [part @ weights + bias for part in left_out]
        alarms.append(negatives[fold::n_folds] @ weights + bias)
        alarms += [part @ weights + bias for k, part in enumerate(others) if k % n_folds == fold]
    highest_alarm = float(np.quantile(np.concatenate(alarms), _ALARM_QUANTILE))
    if not hits:
        return max(highest_alarm, 0.0)
    return max(highest_alarm, 0.0)
