"""The live view in a terminal, and plain lines where there is none."""

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from rich.console import Console
from rich.live import Live

from device_app.capture import Block
from device_app.enrolment.profile import Profile
from device_app.listening.detector import DetectionConfig
from device_app.listening.recogniser import Counts, HeardWindow
from device_app.live_view.health import Health
from device_app.live_view.keys import Keys
from device_app.live_view.nearest import Nearest
from device_app.live_view.screen import Picture, event_cells
from device_app.live_view.wrong import WrongMarker
from device_app.model.embedder import Embedder

Wish: TypeAlias = Literal["go on", "leave", "reload"]
"""What the person wants of the listening."""
_PERIOD_S = 0.2
_N_NEIGHBOURS = 3
_COLUMN_S = 0.1
"""Audio in a column of the spectrogram, at least."""


class PlainView:
    """One line for each event, as it starts and as it ends."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Print an event."""
        if line["type"] in ("start", "end"):
            print(line["type"].ljust(6), *(cell for cell in event_cells(dict(line)) if cell), sep="  ", flush=True)

    def notice(self, sentence: str) -> None:
        """Say what the source does."""
        print(sentence, file=sys.stderr)

    def window(self, window: HeardWindow) -> None:
        """Nothing: a line for each would be too many."""

    def block(self, block: Block) -> None:
        """Likewise."""

    def setup(self, profile: Profile, embedder: Embedder, source: str, history: Path | None) -> None:
        """Nothing depends on what is taught."""

    def tick(self, counts: Counts, process_ids: tuple[int, ...]) -> Wish:
        """Nothing is asked here."""
        return "go on"

    def close(self) -> None:
        """Nothing is held."""


class TerminalView:
    """A picture that fills the terminal, drawn five times a second.

    Args:
        model: The one that is named; None for the shipped one.
    """

    def __init__(self, model: Path | None) -> None:
        self._model = model
        self._picture = Picture((), DetectionConfig().fire_at, "")
        self._health = Health()
        self._next_s = 0.0
        self._column = np.zeros(0, np.float32)
        self._embedding: Any = None
        self._nearest: Nearest | None = None
        self._marker: WrongMarker | None = None
        self._log = _LastMessage(self._picture)
        self._handlers = logging.getLogger().handlers[:]
        logging.getLogger().handlers[:] = [self._log]  # they would write across the picture
        self._keys = Keys().__enter__()
        self._live = Live(console=Console(), screen=True, auto_refresh=False)
        self._live.start()

    def setup(self, profile: Profile, embedder: Embedder, source: str, history: Path | None) -> None:
        """Show what is taught and listened to, now or after the settings were read again."""
        names = {entry.id: Path(entry.origin).name for recordings in profile.sounds.values() for entry in recordings}
        self._nearest = Nearest(profile.examples(embedder), names, embedder.background())
        if self._marker is not None:
            self._marker.close()
        self._marker = WrongMarker(profile.path, self._model, history)
        self._picture.sounds, self._picture.source = profile.taught, source
        self._picture.evidence = self._picture.scores = None
        self._picture.lasting.clear()

    def line(self, line: Mapping[str, Any]) -> None:
        """Show an event."""
        self._picture.take_line(dict(line))

    def notice(self, sentence: str) -> None:
        """Show what the source does."""
        self._picture.state = sentence

    def window(self, window: HeardWindow) -> None:
        """Show a window's evidence; its neighbours are looked for when it is drawn."""
        self._picture.evidence = window.evidence
        self._picture.quiet = window.embedding is None
        if window.scores is not None:
            self._picture.scores, self._embedding = window.scores, window.embedding

    def block(self, block: Block) -> None:
        """Show audio."""
        if not block.waveform.size:
            return
        self._picture.peak = float(np.max(np.abs(block.waveform)))
        self._column = np.concatenate([self._column, block.waveform])
        if len(self._column) >= round(_COLUMN_S * block.sample_rate):
            self._picture.spectrogram.push(self._column, block.sample_rate)
            self._column = np.zeros(0, np.float32)

    def tick(self, counts: Counts, process_ids: tuple[int, ...]) -> Wish:
        """Draw, if it is time, and heed the keys.

        Args:
            counts: Of the recogniser.
            process_ids: Of the processes beside this one.
        """
        wish = self._heed_keys()
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _PERIOD_S
            if self._embedding is not None and self._nearest is not None:
                self._picture.neighbours = self._nearest.to(self._embedding, _N_NEIGHBOURS)
                self._embedding = None
            share = counts.n_embedded / max(1, counts.n_windows)
            self._picture.health = (
                f"{counts.heard_s:.0f} s heard, {counts.lost_s:.1f} s lost, {share:.0%} of the windows looked at; "
                f"{self._health.text((os.getpid(), *process_ids))}"
            )
            self._live.update(self._picture.draw(self._live.console.width), refresh=True)
        return wish

    def close(self) -> None:
        """Give the terminal back, and say there what was said meanwhile."""
        self._live.stop()
        self._keys.__exit__(None, None, None)
        logging.getLogger().handlers[:] = self._handlers
        if self._marker is not None:
            self._marker.close()
        for text in self._log.texts:
            print(text, file=sys.stderr)

    def _heed_keys(self) -> Wish:
        assert self._marker is not None
        for key in self._keys.pressed():
            if key in "qQ":
                return "leave"
            if key in "wW":
                newest = self._picture.events[0]["id"] if self._picture.events else None
                self._picture.message = self._marker.mark(newest)
        if (outcome := self._marker.finished()) is not None:
            learned, self._picture.message = outcome
            return "reload" if learned else "go on"
        return "go on"


class _LastMessage(logging.Handler):
    """Shows what is logged in the picture, and keeps it for afterwards."""

    def __init__(self, picture: Picture) -> None:
        super().__init__(logging.WARNING)
        self._picture = picture
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._picture.message = record.getMessage()
        self.texts = [*self.texts[-99:], f"{record.levelname} {record.name}: {record.getMessage()}"]


def open_view(model: Path | None) -> TerminalView | PlainView:
    """The view that standard output can show."""
    return TerminalView(model) if sys.stdout.isatty() else PlainView()
