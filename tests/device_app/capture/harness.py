"""A microphone that misbehaves on command, and a reader that waits for what a test expects."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from device_app.capture import Block, Capture, Notice, Patience

PATIENCE_S = 60.0
"""How long a test waits for something that should come within a second or three: the machine may be busy."""


def patience(**changes: float) -> Patience:
    """Patience that a busy machine does not exhaust, save for what the test is about."""
    return Patience(**{"slow_start_s": PATIENCE_S, "start_s": PATIENCE_S, "hung_s": PATIENCE_S} | changes)


class Double:
    """The control file of the ``sounddevice`` double."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state: dict[str, Any] = {
            "devices": [{"name": "default", "channels": 2, "rate": 16000}],
            "sound": "ramp",
            "hang": False,
            "overflows": 0,
        }
        self.set()

    def set(self, **changes: Any) -> None:
        """Change what the microphone does."""
        self._state |= changes
        aside = self._path.with_suffix(".new")
        aside.write_text(json.dumps(self._state))
        aside.replace(self._path)


class Reader:
    """Keeps all that a capture delivers."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.items: list[Block | Notice] = []

    @property
    def blocks(self) -> list[Block]:
        return [item for item in self.items if isinstance(item, Block)]

    @property
    def notices(self) -> list[Notice]:
        return [item for item in self.items if isinstance(item, Notice)]

    @property
    def told(self) -> list[tuple[str, str | None]]:
        """State and reason of each notice."""
        return [(notice.state, notice.reason) for notice in self.notices]

    def until(self, what: Callable[["Reader"], object]) -> None:
        """Read until it holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not what(self):
            assert time.monotonic() < deadline, f"waited in vain; notices: {self.notices}, {len(self.blocks)} blocks"
            self.items += self.capture.read(0.5)

    def more_blocks(self, n: int) -> None:
        """Read until there are so many more."""
        enough = len(self.blocks) + n
        self.until(lambda reader: len(reader.blocks) >= enough)

    def for_seconds(self, seconds: float) -> None:
        """Read for so long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.items += self.capture.read(left)
