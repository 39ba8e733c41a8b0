"""The parent's bounded buffer between the thread that reads the capture process and the caller of ``read``."""

import threading
from collections import deque
from dataclasses import replace

from device_app.capture.blocks import Block, Notice

_MOST_NOTICES = 1000


class Inbox:
    """Blocks and notices in the order in which they came.

    Args:
        buffer_s: Seconds of audio that it holds for a caller who reads late.
        drops: Whether the oldest audio goes, and is counted, where there is no room. Otherwise it is for whoever fills
            it to stop while it is ``full``; what was already on its way is still taken.
    """

    def __init__(self, buffer_s: float, *, drops: bool) -> None:
        self._buffer_s, self._drops = buffer_s, drops
        self._changed = threading.Condition()
        self._items: deque[Block | Notice] = deque()
        self._held_s = 0.0
        self._n_notices = 0
        self._error: Exception | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether it holds as much audio as it may."""
        return self._held_s >= self._buffer_s

    def put_block(self, block: Block) -> None:
        """Add audio."""
        with self._changed:
            self._items.append(block)
            self._held_s += block.waveform.size / block.sample_rate
            while self._drops and self._held_s > self._buffer_s and self._drop_oldest_block():
                pass
            self._changed.notify_all()

    def _drop_oldest_block(self) -> bool:
        places = [i for i, item in enumerate(self._items) if isinstance(item, Block)][:2]
        if len(places) < 2:
            return False  # a single block longer than the buffer is kept
        oldest, following = (self._items[i] for i in places)
        assert isinstance(oldest, Block)
        assert isinstance(following, Block)
        scale = following.sample_rate / oldest.sample_rate
        n_gone = round((oldest.n_lost + oldest.waveform.size) * scale)
        self._items[places[1]] = replace(following, n_lost=following.n_lost + n_gone)
        del self._items[places[0]]
        self._held_s -= oldest.waveform.size / oldest.sample_rate
        return True

    def put_notice(self, notice: Notice) -> None:
        """Add a notice; of more than a thousand that nobody read, the oldest go."""
        with self._changed:
            self._items.append(notice)
            self._n_notices += 1
            if self._n_notices > _MOST_NOTICES:
                self._items.remove(next(item for item in self._items if isinstance(item, Notice)))
                self._n_notices -= 1
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Nothing more will come: raise this once everything before it was taken."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def raise_error(self) -> None:
        """Raise what :meth:`fail` was given, if anything, whatever was not taken yet."""
        with self._changed:
            if self._error is not None:
                raise self._error

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, timeout_s: float) -> list[Block | Notice]:
        """Everything that came, waiting for it up to ``timeout_s``; empty on time-out and once it is closed.

        Raises:
            AudioError: What :meth:`fail` was given, once everything before it was taken.
            DeviceError: Likewise.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._error or self._closed, timeout_s)
            items = list(self._items)
            if not items and self._error is not None:
                raise self._error
            self._items.clear()
            self._held_s = 0.0
            self._n_notices = 0
            return items
