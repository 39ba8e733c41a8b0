"""The bounded buffer between PortAudio's callback and the thread that writes to the parent."""

import threading
from collections import deque
from dataclasses import dataclass

from device_app.arrays import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class RawBlock:
    """What one callback handed over."""

    frames: FloatArray
    """(n_samples, n_channels) float32."""
    n_lost: int
    """Samples lost just before it."""
    heard: float
    """When its first sample was heard, going by its arrival: seconds, monotonic."""


class RingBuffer:
    """Blocks in their order; when it is full the oldest goes, and is counted.

    Args:
        n_samples: How many samples (of all channels together, at one moment) it holds.
    """

    def __init__(self, n_samples: int) -> None:
        self._capacity = n_samples
        self._changed = threading.Condition()
        self._blocks: deque[RawBlock] = deque()
        self._n_held = 0
        self._n_dropped = 0  # before the oldest block
        self._ended = False

    def put(self, block: RawBlock) -> None:
        """Add a block. Short enough for a callback: no allocation but the list's own."""
        with self._changed:
            self._blocks.append(block)
            self._n_held += len(block.frames)
            while self._n_held > self._capacity and len(self._blocks) > 1:
                oldest = self._blocks.popleft()
                self._n_held -= len(oldest.frames)
                self._n_dropped += oldest.n_lost + len(oldest.frames)
            self._changed.notify()

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def get(self) -> RawBlock | None:
        """The oldest block, waiting for it; None when there are no more and no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._ended)
            if not self._blocks:
                return None
            block = self._blocks.popleft()
            self._n_held -= len(block.frames)
            n_dropped, self._n_dropped = self._n_dropped, 0
            return RawBlock(block.frames, block.n_lost + n_dropped, block.heard) if n_dropped else block
