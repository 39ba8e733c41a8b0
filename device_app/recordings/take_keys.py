"""Keys that a person presses while takes are recorded, each as it is pressed; nothing waits for them."""

import os
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Keys:
    """A terminal that hands over single keys."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pressed(self) -> str:
        """All keys since the last call; empty if there were none."""
        text = b""
        while select.select([self._descriptor], [], [], 0.0)[0]:
            chunk = os.read(self._descriptor, 64)
            if not chunk:  # the terminal was closed
                break
            text += chunk
        return text.decode(errors="replace")


@contextmanager
def open_keys(keyboard: TextIO) -> Iterator[Keys | None]:
    """The keys of a terminal, which is as it was afterwards; None where there is no terminal."""
    if not keyboard.isatty():
        yield None
        return
    descriptor = keyboard.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
