"""What a room sounds like: a bounded sample of the embeddings heard in it, never audio.

It is kept as ``room/embeddings.npz`` in the profile, is used as negatives at each fit, and can be shown and cleared.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np

from device_app.arrays import FloatArray, Int8Array
from device_app.enrolment.profile_files import now
from device_app.errors import ProfileError
from device_app.files import npz, read_npz, remove_asides, write_aside

CAPACITY = 10_000
"""Embeddings that are kept: 10 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Reservoir:
    """A uniform sample of everything that was offered."""

    rows: Int8Array
    """(n, size) int8, each row scaled to its own largest value."""
    n_seen: int
    """How many were offered in all."""
    since: str
    """When the first one was, ISO 8601, UTC."""
    model_id: str

    def sample(self, n_most: int) -> FloatArray:
        """(n, size) float32, each row of unit length: all, or ``n_most`` of them, evenly spread."""
        rows = self.rows[:: max(1, -(-len(self.rows) // n_most))].astype(np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-6))

    def merged(self, other: "Reservoir", rng: np.random.Generator, capacity: int) -> "Reservoir":
        """A uniform sample of what was offered to either.

        How many of a uniform sample of the union come from one side is hypergeometric; those of a side are a uniform
        choice of its own sample.
        """
        n_seen = self.n_seen + other.n_seen
        n_own = int(rng.hypergeometric(self.n_seen, other.n_seen, min(capacity, n_seen)))
        parts = [
            side.rows[rng.choice(len(side.rows), count, replace=False)]
            for side, count in ((self, n_own), (other, min(capacity, n_seen) - n_own))
        ]
        return Reservoir(np.concatenate(parts), n_seen, min(self.since, other.since), self.model_id)


class Room:
    """Collects what a listener hears. Nothing is written before :meth:`save`; several processes may collect at once.

    Offer it only what no taught sound has evidence for: it teaches the head what is *not* a sound.
    """

    def __init__(self, profile: Path, model_id: str, rng: np.random.Generator, *, capacity: int = CAPACITY) -> None:
        self._path = _file(profile)
        self._model_id = model_id
        self._rng = rng
        self._capacity = capacity
        self._begin()

    def _begin(self) -> None:
        self._rows: list[Int8Array] = []
        self._n_seen = 0
        self._since = now()

    def offer(self, embedding: FloatArray) -> None:
        """Take note of one window: (size,) float32 of unit length. All that were ever offered are as likely to stay.

        Algorithm R (Vitter 1985, "Random sampling with a reservoir").
        """
        self._n_seen += 1
        place = len(self._rows) if len(self._rows) < self._capacity else int(self._rng.integers(self._n_seen))
        if place >= self._capacity:
            return
        row = np.rint(embedding * (127.0 / max(float(np.abs(embedding).max()), 1e-9))).astype(np.int8)
        self._rows[place : place + 1] = [row]

    def save(self) -> None:
        """Merge what was offered since the last time into the profile's file.

        What another process collected, or cleared, meanwhile is respected.

        Raises:
            EarmarkError: If it cannot be written; what was offered is kept for the next time.
        """
        if not self._rows:
            return
        new = Reservoir(np.stack(self._rows), self._n_seen, self._since, self._model_id)
        with _locked(self._path):
            stored = read_room(self._path.parent.parent)
            if stored is not None and stored.model_id == self._model_id:
                new = stored.merged(new, self._rng, self._capacity)
            about = {"n_seen": new.n_seen, "since": new.since, "model_id": new.model_id}
            write_aside(self._path, npz(rows=new.rows, **about))
        self._begin()


def read_room(profile: Path) -> Reservoir | None:
    """What a profile knows of its room; None if nothing, or if the file is damaged: it is then begun anew."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        stored = read_npz(_file(profile))
        return Reservoir(stored["rows"], int(stored["n_seen"]), str(stored["since"]), str(stored["model_id"]))
    return None


def clear_room(profile: Path) -> None:
    """Forget the room."""
    path = _file(profile)
    if path.exists():
        with _locked(path):
            path.unlink(missing_ok=True)


def _file(profile: Path) -> Path:
    return profile / "room" / "embeddings.npz"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A lock of the room's own: a listener must not wait while a head is being fitted."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.parent / ".lock", timeout=5.0):
            remove_asides(path.parent)
            yield
    except (OSError, filelock.Timeout) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else "another earmark is writing it"
        raise ProfileError(f"cannot write {path}: {reason}; free space, or choose another --profile") from err
