"""What `earmark listen --learn-room` does on the side: it offers the room's own windows to its sample."""

import logging
from pathlib import Path

import numpy as np

from device_app.errors import EarmarkError
from device_app.listening.recogniser import HeardWindow
from device_app.room.room import Room

_log = logging.getLogger(__name__)

_SAVE_EVERY_S = 600.0
"""What a crash costs at most."""


class RoomCollector:
    """Takes note of the windows in which nothing that was taught has any evidence. They count from the next fit on.

    Args:
        profile: Folder of the profile.
        model_id: Of the model that makes the embeddings.
    """

    def __init__(self, profile: Path, model_id: str) -> None:
        self._room = Room(profile, model_id, np.random.default_rng())
        self._saved_s = 0.0

    def window(self, window: HeardWindow) -> None:
        """Take a window of the listener."""
        if window.start_s - self._saved_s >= _SAVE_EVERY_S:
            self._saved_s = window.start_s
            self.save()
        if window.embedding is not None and not window.evidence.any():
            self._room.offer(window.embedding)

    def save(self) -> None:
        """Write what was collected; if that fails it is said, kept, and tried again later: listening goes on."""
        try:
            self._room.save()
        except EarmarkError as err:
            _log.warning("the room is not learned for now: %s", err)
