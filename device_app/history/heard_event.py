"""A past event with what it was recognised from: what listening keeps, and what corrections learn from."""

from dataclasses import dataclass

from device_app.arrays import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardEvent:
    """One event of the history."""

    id: str
    """As in the event's JSON lines."""
    sound: str
    time: str
    """Wall clock of its start, ISO 8601, UTC."""
    score: float
    model_id: str
    """Of the model that made the embeddings."""
    embeddings: FloatArray
    """(n_windows, size) float32, all heads side by side as from ``Embedder.embed``; the windows that spoke for it."""
