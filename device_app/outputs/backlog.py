"""Writes that the disk refuses now and may take later."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from device_app.errors import EarmarkError

_log = logging.getLogger(__name__)

_RETRY_S = 5.0
_MOST = 1000

T = TypeVar("T")


class Backlog(Generic[T]):
    """Writes in order; what fails waits in memory and is tried again, so that a full disk loses nothing.

    Args:
        write: Writes one item; raises EarmarkError if it cannot, and must bear being called again with the same item.
    """

    def __init__(self, write: Callable[[T], None]) -> None:
        self._write = write
        self._waiting: deque[T] = deque()
        self._next_try = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: T) -> None:
        """Write an item behind those that wait. With more than a thousand waiting the oldest is lost."""
        self._waiting.append(item)
        if len(self._waiting) > _MOST:
            self._waiting.popleft()
            _log.error("the disk has taken nothing for %d events: the oldest is lost", _MOST)
        self.flush()

    def flush(self, *, now: bool = False) -> None:
        """Write what waits, if it is time for another attempt.

        Args:
            now: Whether it is time in any case.
        """
        if not now and time.monotonic() < self._next_try:
            return
        while self._waiting:
            try:
                self._write(self._waiting[0])
            except EarmarkError as err:
                if self._next_try == 0.0:  # the first failure since it worked
                    _log.warning("%s; what comes is kept in memory meanwhile", err)
                self._next_try = time.monotonic() + _RETRY_S
                return
            self._waiting.popleft()
        if self._next_try:
            _log.warning("the disk takes events again: nothing that waited was lost")
            self._next_try = 0.0
