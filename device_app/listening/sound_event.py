"""A sound that was heard, as the listening path hands it on."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from device_app.arrays import FloatArray

Phase: TypeAlias = Literal["start", "update", "end"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SoundEvent:
    """One state of an event: it starts once, is updated while it lasts, and ends once.

    Times are seconds on the source's clock.
    """

    phase: Phase
    id: str
    """32 hex digits, never used twice; the same in every phase of one event."""
    sound: str
    start_s: float
    """When the sound began, estimated from the windows that spoke for it."""
    fired_s: float
    """End of the window that tipped the scale: when the event was known."""
    last_s: float
    """End of the last window that spoke for it, so far."""
    score: float
    """Best log-odds of a window so far."""
    runner_up: str | None
    """The second best sound in the window that tipped the scale; None where only one is taught."""
    level_dbfs: float
    """RMS level of the loudest window that spoke for it so far."""
    embeddings: FloatArray
    """(n_windows, size) float32, as from ``Embedder.embed``: the first windows that spoke for it, at most
    :data:`device_app.listening.detector.MOST_KEPT_WINDOWS`."""

    @property
    def end_s(self) -> float | None:
        """When the sound ended; None while it lasts."""
        return self.last_s if self.phase == "end" else None

    @property
    def duration_s(self) -> float:
        """How long it lasted, or has lasted so far."""
        return self.last_s - self.start_s
