"""The live view's picture: what is known of the moment, drawn into the terminal's size."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from device_app.arrays import FloatArray
from device_app.live_view.nearest import EVERYDAY, Neighbour
from device_app.live_view.spectrogram import Spectrogram
from device_app.recordings.take_screen import meter

_SPECTROGRAM_ROWS = 6
_BAR = 24
_MOST_EVENTS = 5
_MOST_SOUNDS = 8


@dataclass(slots=True)
class Picture:
    """What is shown."""

    sounds: Sequence[str]
    fire_at: float
    """Evidence at which an event starts."""
    source: str
    """What is listened to."""
    spectrogram: Spectrogram = field(default_factory=lambda: Spectrogram(_SPECTROGRAM_ROWS))
    peak: float = 0.0
    """Of the last block, in [0, 1]."""
    evidence: FloatArray | None = None
    """(n_sounds,)"""
    scores: FloatArray | None = None
    """(n_sounds,) log-odds of the last window that was looked at."""
    neighbours: Sequence[Neighbour] = ()
    quiet: bool = True
    """Whether nothing stands out in the last window."""
    lasting: set[str] = field(default_factory=set)
    """Sounds whose event goes on."""
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_MOST_EVENTS))
    """Latest lines of the last events, the newest first."""
    state: str = ""
    """What the source said last."""
    health: str = ""
    message: str = ""

    def take_line(self, line: dict[str, Any]) -> None:
        """Take an event's line, or the source's."""
        if line["type"] == "source":
            self.state = line["message"]
            return
        known = next((i for i, event in enumerate(self.events) if event["id"] == line["id"]), None)
        if known is None:
            self.events.appendleft(line)
        else:
            self.events[known] = line
        (self.lasting.discard if line["type"] == "end" else self.lasting.add)(line["sound"])

    def draw(self, width: int) -> RenderableType:
        """The whole picture for a terminal of this width."""
        inner = max(20, width - 4)
        keys = Text("q leave   w that was wrong", style="dim")
        return Group(
            Panel(
                Group(Text(meter(self.peak)), *self.spectrogram.lines(inner)),
                title=f"listening on {self.source}",
                title_align="left",
            ),
            Panel(self._evidence(), title="evidence, and the log-odds of the last window", title_align="left"),
            Panel(self._hearing(), title="what is it hearing?", title_align="left"),
            Panel(self._events(), title="last events", title_align="left"),
            Text(self.health, style="dim", no_wrap=True, overflow="ellipsis"),
            Text(self.message or self.state, style="yellow"),  # all of it: what to do stands at its end
            keys,
        )

    def _evidence(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        evidence = self.evidence if self.evidence is not None else np.zeros(len(self.sounds), np.float32)
        shown = np.argsort(evidence, kind="stable")[::-1][:_MOST_SOUNDS] if len(self.sounds) > _MOST_SOUNDS else None
        for i in range(len(self.sounds)) if shown is None else sorted(shown.tolist()):
            share = min(1.0, float(evidence[i]) / self.fire_at)
            n_full = round(_BAR * share)
            lasts = self.sounds[i] in self.lasting
            table.add_row(
                Text(self.sounds[i], style="bold green" if lasts else ""),
                Text("█" * n_full + "·" * (_BAR - n_full), style="green" if lasts else "cyan"),
                f"{float(evidence[i]):4.1f} of {self.fire_at:g}",
                "" if self.scores is None else f"{float(self.scores[i]):+5.1f}",
                "heard" if lasts else "",
            )
        return table

    def _hearing(self) -> RenderableType:
        if self.quiet or not self.neighbours:
            return Text("nothing that stands out", style="dim")
        table = Table.grid(padding=(0, 2))
        for neighbour in self.neighbours:
            everyday = neighbour.sound == EVERYDAY
            table.add_row(
                f"{neighbour.cosine:5.2f}",
                Text(neighbour.sound, style="dim" if everyday else "bold"),
                neighbour.recording,
            )
        return table

    def _events(self) -> RenderableType:
        if not self.events:
            return Text("none yet", style="dim")
        table = Table.grid(padding=(0, 2))
        for line in self.events:
            table.add_row(*event_cells(line))
        return table


def event_cells(line: dict[str, Any]) -> list[str]:
    """An event's line for people: when, what, how sure, how long, how loud."""
    lasts = f"{line['duration_s']:.1f} s" + ("" if line["type"] == "end" else " so far")
    return [
        f"{datetime.fromisoformat(line['time']).astimezone():%H:%M:%S}",
        line["sound"],
        f"score {line['score']:.1f}",
        lasts,
        f"{line['level_dbfs']:.0f} dBFS",
        f"then {line['runner_up']}" if line["runner_up"] else "",
    ]
