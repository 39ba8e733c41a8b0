"""Feeds recordings through capture and recogniser, faster than real time, and lets others disturb and judge it."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from device_app.capture import Capture, Notice, Patience, Source
from device_app.health.process_meter import memory_mb
from device_app.listening.recogniser import Recogniser
from device_app.listening.sound_event import SoundEvent

MOST_GROWTH = 0.05
"""Of the memory that this process wrote, from the end of the first part to the end of the run."""


class Part(Protocol):
    """What takes part in a soak: it disturbs it, takes what is heard, or judges it; most do one of the three."""

    def tick(self, capture: Capture, heard_s: float) -> None:
        """Called with each block; ``heard_s`` is the source's clock."""

    def event(self, event: SoundEvent, epoch_s: float) -> None:
        """Called with each start, update and end, and the wall clock at the zero of the source's clock."""

    def notice(self, notice: Notice) -> None:
        """Called with each change in the source's state."""

    def verdict(self) -> list[str]:
        """Called at the end: a sentence for everything that went wrong."""
        ...


@dataclass
class Report:
    """How a soak went."""

    heard_s: float = 0.0
    lost_s: float = 0.0
    n_events: int = 0
    n_notices: int = 0
    took_s: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    """That this process wrote, after each part of the audio."""
    faults: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Of the memory, from the first part's end to the largest of the last parts, as a share."""
        return max(self.memory_mb[-2:]) / self.memory_mb[0] - 1.0 if len(self.memory_mb) > 1 else 0.0


def soak(
    source: Source,
    recogniser: Recogniser,
    parts: Sequence[Part],
    *,
    part_s: float,
    patience: Patience,
    until: Callable[[float], bool] = lambda _heard_s: False,
) -> Report:
    """Listen to the end of a source.

    Args:
        source: What is heard.
        recogniser: Fresh.
        parts: What takes part.
        part_s: Memory is looked at each time that so much was heard, seconds.
        patience: Of the capture.
        until: Whether to stop, for a source that does not end; it is told what was heard so far.
    """
    report, began, epoch_s = Report(), time.monotonic(), 0.0
    with Capture(source, retry=True, must_start=True, patience=patience) as capture:
        ended = False
        while not ended:
            for item in capture.read(1.0):
                if isinstance(item, Notice):
                    report.n_notices += 1
                    ended = ended or item.state == "ended"
                    for part in parts:
                        part.notice(item)
                    continue
                events = recogniser.push(item)
                epoch_s = item.time - item.start_sample / item.sample_rate
                _hand_on(events, epoch_s, parts, report)
                heard_s = item.end_sample / item.sample_rate
                for part in parts:
                    part.tick(capture, heard_s)
                if heard_s >= (len(report.memory_mb) + 1) * part_s:
                    report.memory_mb.append(memory_mb([os.getpid()])["data"])
                ended = ended or until(heard_s)
    _hand_on(recogniser.finish(), epoch_s, parts, report)
    report.heard_s, report.lost_s = recogniser.counts.heard_s, recogniser.counts.lost_s
    report.took_s = time.monotonic() - began
    report.faults = [fault for part in parts for fault in part.verdict()]
    if report.growth > MOST_GROWTH:
        report.faults.append(f"memory grew by {report.growth:.1%}: {[round(mb, 1) for mb in report.memory_mb]} MB")
    return report


def _hand_on(events: Sequence[SoundEvent], epoch_s: float, parts: Sequence[Part], report: Report) -> None:
    for event in events:
        report.n_events += event.phase == "start"
        for part in parts:
            part.event(event, epoch_s)
