"""What is it hearing: the recordings that come nearest to a window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from device_app.arrays import FloatArray
from device_app.enrolment.head import Examples

EVERYDAY = "everyday audio"
"""Stands for the model's own bank of background, whose windows have no names."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One recording, and how near it comes."""

    sound: str
    recording: str
    """Its name; empty for everyday audio."""
    cosine: float
    """Of its nearest window, in [-1, 1]."""


class Nearest:
    """Finds the recordings that are nearest to an embedding.

    Args:
        examples: Of all recordings.
        names: Of the recordings, by id.
        bank: (n_windows, size) float32, embeddings of everyday audio.
    """

    def __init__(self, examples: Sequence[Examples], names: dict[str, str], bank: FloatArray) -> None:
        self._owners = [(entry.sound, names.get(entry.recording, entry.recording)) for entry in examples]
        self._owners.append((EVERYDAY, ""))
        parts = [*(entry.embeddings for entry in examples), bank]
        self._owner_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        self._embeddings = np.concatenate(parts)

    def to(self, embedding: FloatArray, n: int) -> list[Neighbour]:
        """The nearest n recordings, each once, the nearest first.

        Args:
            embedding: (size,) float32.
            n: How many.
        """
        cosines = self._embeddings @ embedding
        best = np.full(len(self._owners), -np.inf)
        np.maximum.at(best, self._owner_of, cosines)
        order = np.argsort(best)[::-1][:n].tolist()
        return [Neighbour(self._owners[i][0], self._owners[i][1], float(best[i])) for i in order]
