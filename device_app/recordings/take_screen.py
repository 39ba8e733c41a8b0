"""What a person sees while takes are recorded: a level meter in a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from device_app.arrays import FloatArray

_LOWEST_DB = -60.0
_CLIPPED = 0.99
_WIDTH = 40


class TakeScreen(Protocol):
    """Where the recorder tells what happens."""

    def say(self, sentence: str) -> None:
        """A line that stays."""

    def count(self, left: int) -> None:
        """Seconds left until the take."""

    def level(self, waveform: FloatArray) -> None:
        """What the microphone hears just now: (n_samples,) float32 in [-1, 1]."""


def meter(peak: float) -> str:
    """A peak in [0, 1] as a bar with its figure, from -60 dB to full scale."""
    db = 20.0 * np.log10(peak) if peak > 0 else -np.inf
    n_full = round(_WIDTH * float(np.clip(1.0 - db / _LOWEST_DB, 0.0, 1.0)))
    figure = f"{db:6.1f} dB" if np.isfinite(db) else "  silent "
    return "█" * n_full + "·" * (_WIDTH - n_full) + f" {figure}" + ("  too loud" if peak >= _CLIPPED else "")


class PlainScreen:
    """One line for each thing that happens, the level once at the end of a take.

    Args:
        out: Where the lines go.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._peak: float | None = None

    def say(self, sentence: str) -> None:
        """A line, and before it the loudest that was heard since the last one."""
        if self._peak is not None:
            self._out.write(f"level {meter(self._peak)[_WIDTH:].strip()}\n")
            self._peak = None
        self._out.write(sentence + "\n")
        self._out.flush()

    def count(self, left: int) -> None:
        """A line with the seconds left."""
        self._out.write(f"{left}\n")
        self._out.flush()

    def level(self, waveform: FloatArray) -> None:
        """Remember the loudest."""
        self._peak = max(self._peak or 0.0, _peak(waveform))


class TerminalScreen:
    """A meter that moves, under lines that stay.

    Args:
        live: Its place in the terminal.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._prefix = ""
        self._held = 0.0

    def say(self, sentence: str) -> None:
        """A line above the meter."""
        self._prefix = "● " if sentence == "now" else "  "
        if sentence != "now":
            self._live.console.print(sentence, markup=False, highlight=False)

    def count(self, left: int) -> None:
        """The number beside the meter."""
        self._prefix = f"{left} "

    def level(self, waveform: FloatArray) -> None:
        """Move the meter: up at once, down slowly."""
        self._held = max(_peak(waveform), self._held * 0.8)
        colour = "red" if self._held >= _CLIPPED else "green" if self._held > 0.03 else "yellow"
        self._live.update(Text(self._prefix + meter(self._held), style=colour))


@contextmanager
def open_screen(out: TextIO) -> Iterator[TakeScreen]:
    """The screen that fits what ``out`` is."""
    if not out.isatty():
        yield PlainScreen(out)
        return
    with Live(console=Console(file=out), refresh_per_second=15, transient=True) as live:
        yield TerminalScreen(live)


def _peak(waveform: FloatArray) -> float:
    return float(np.max(np.abs(waveform), initial=0.0))
