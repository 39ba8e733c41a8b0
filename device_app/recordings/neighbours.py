"""How alike recordings are: whether one belongs to its siblings, or rather to another sound that is taught already."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from device_app.arrays import FloatArray
from device_app.enrolment.head import Examples
from device_app.enrolment.sound_names import is_taught
from device_app.recordings.take_findings import Finding

_BANK_SHARE = 0.9
"""A recording is unlike its siblings if so much of all everyday audio lies nearer to them."""
_NEARER = 0.1
"""How much nearer, in cosine, to another sound than to its own a recording must be to be told of."""
_AS_NEAR = 0.8
"""A first recording has no siblings: it is told of if its distance (1 - cosine) to another sound is less than this
share of what that one's own recordings have."""


class Neighbours:
    """The recordings of the sounds taught so far, each as the mean of its embeddings.

    How often it warns of right recordings and of wrong ones: ``make bench-takes``.
    """

    def __init__(self, bank: FloatArray, examples: Iterable[Examples] = ()) -> None:
        """Begin with what is taught.

        Args:
            bank: (n_windows, size) float32, embeddings of everyday audio.
            examples: Of all recordings; those that are no sounds are passed over.
        """
        self._bank = bank
        self._known: dict[str, dict[str, FloatArray]] = defaultdict(dict)
        for example in examples:
            if is_taught(example.sound):
                self.add(example)

    def add(self, example: Examples) -> None:
        """Add a recording."""
        self._known[example.sound][example.recording] = _unit(example.embeddings.mean(axis=0))

    def remove(self, sound: str, recording_id: str) -> None:
        """Take a recording back."""
        self._known[sound].pop(recording_id, None)

    def judge(self, example: Examples) -> list[Finding]:
        """Compare a recording with its siblings and the other sounds, whether it was added or not.

        Returns:
            At most one finding: the other sound that it is nearest to, or that it is unlike its siblings.
        """
        sound, vector = example.sound, _unit(example.embeddings.mean(axis=0))
        own = [known for recording, known in self._known[sound].items() if recording != example.recording]
        likeness = {
            other: float(vector @ _unit(np.mean(list(known.values()), axis=0)))
            for other, known in self._known.items()
            if other != sound and known
        }
        nearest = max(likeness, key=likeness.__getitem__, default=None)
        if nearest is not None and likeness[nearest] > self._allowed(vector, own, nearest):
            return [
                Finding(
                    "sounds_like",
                    f"it sounds like '{nearest}', which is taught already: take it again unless it is '{sound}'",
                )
            ]
        if len(own) >= 2:
            centre = np.mean(own, axis=0)
            if vector @ centre < np.quantile(self._bank @ centre, _BANK_SHARE):
                return [Finding("unlike", f"it is unlike the others of '{sound}': take it again unless it is one")]
        return []

    def _allowed(self, vector: FloatArray, own: Sequence[FloatArray], other: str) -> float:
        """How near to another sound a recording may be."""
        if own:
            return float(vector @ _unit(np.mean(own, axis=0))) + _NEARER
        known = list(self._known[other].values())
        if len(known) < 2:
            return 1.0
        within = [known[i] @ _unit(np.mean(known[:i] + known[i + 1 :], axis=0)) for i in range(len(known))]
        return 1.0 - _AS_NEAR * (1.0 - float(np.median(within)))


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float32)
