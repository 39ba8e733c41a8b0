"""Keys pressed in the terminal, read without waiting and without Enter."""

import os
import select
import sys
import termios
import tty
from types import TracebackType


class Keys:
    """Used as a context manager, which gives the terminal back as it was. Without a terminal there are no keys."""

    def __init__(self) -> None:
        self._fd: int | None = None

    def __enter__(self) -> "Keys":
        if sys.stdin is not None and sys.stdin.isatty():
            self._fd = sys.stdin.fileno()
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)  # Ctrl-C stays what it is
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._fd = None

    def pressed(self) -> str:
        """What was pressed since the last call; empty if nothing was."""
        if self._fd is None or not select.select([self._fd], [], [], 0)[0]:
            return ""
        return os.read(self._fd, 64).decode(errors="replace")
