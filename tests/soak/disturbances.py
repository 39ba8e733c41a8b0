"""What goes wrong in a soak on the capture's side, and who counts whether anything was lost."""

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping

import pytest

from device_app.capture import Capture, Notice
from device_app.listening.sound_event import SoundEvent


class Bystander:
    """A part that does nothing; the others override what they need."""

    def tick(self, capture: Capture, heard_s: float) -> None:
        pass

    def event(self, event: SoundEvent, epoch_s: float) -> None:
        pass

    def notice(self, notice: Notice) -> None:
        pass

    def verdict(self) -> list[str]:
        return []


class SignalledCapture(Bystander):
    """The capture process is killed, or stopped so that it hangs, every so often; each time it must come back.

    One that is not back from the last blow is left alone: two blows to one process are one loss.

    Args:
        every_s: Of audio, for each signal.
    """

    def __init__(self, every_s: Mapping[signal.Signals, float]) -> None:
        self._every_s = every_s
        self._next_s = {number: seconds / 2.0 for number, seconds in every_s.items()}
        self._n_lost = self._n_running = self.n_done = 0
        self._running = False

    def tick(self, capture: Capture, heard_s: float) -> None:
        due = [number for number, next_s in self._next_s.items() if heard_s >= next_s]
        if not due or not self._running or capture.process_id is None:
            return
        self._next_s[due[0]] = heard_s + self._every_s[due[0]]
        self._running = False
        self.n_done += 1
        os.kill(capture.process_id, due[0])

    def notice(self, notice: Notice) -> None:
        self._n_lost += notice.state == "retrying"
        self._n_running += notice.state == "running"
        self._running = notice.state == "running"

    def verdict(self) -> list[str]:
        if self._n_lost < self.n_done - 1:  # the last one may have met a process that had delivered everything
            return [f"{self.n_done} signals were sent, but only {self._n_lost} losses were noticed"]
        if self._n_running <= self._n_lost:
            return [f"of {self._n_lost} losses only {self._n_running - 1} were followed by a restart"]
        return []


class JumpingClock(Bystander):
    """The wall clock jumps by hours, to and fro, as when a machine without a battery finds the network.

    Args:
        monkeypatch: Takes the jumps back.
        every_s: Of audio.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, every_s: float) -> None:
        self._every_s, self._next_s, self._true = every_s, every_s / 3.0, time.time
        self._offset_s = 0.0
        monkeypatch.setattr(time, "time", lambda: self._true() + self._offset_s)

    def tick(self, capture: Capture, heard_s: float) -> None:
        if heard_s >= self._next_s:
            self._next_s += self._every_s
            self._offset_s = 0.0 if self._offset_s else 7.0 * 3600.0


class EventAccount(Bystander):
    """Every event starts once, ends once, and has an id of its own; each hour has those of an undisturbed one.

    Args:
        expected: Sound and start, seconds, of the events in one undisturbed part.
        starts_s: Where on the source's clock each part starts.
    """

    def __init__(self, expected: list[tuple[str, float]], starts_s: list[float]) -> None:
        self._expected, self._starts_s = expected, starts_s
        self._started: dict[str, tuple[str, float]] = {}  # no more than that: what is kept here counts as memory
        self._ended: set[str] = set()
        self._faults: list[str] = []

    def event(self, event: SoundEvent, epoch_s: float) -> None:
        if event.phase == "start" and event.id in self._started:
            self._faults.append(f"event {event.id} started twice")
        if event.phase == "start":
            self._started[event.id] = (event.sound, round(event.fired_s, 1))
        elif event.id not in self._started or event.id in self._ended:
            self._faults.append(f"event {event.id}: {event.phase} without a start, or after its end")
        if event.phase == "end":
            self._ended.add(event.id)

    def verdict(self) -> list[str]:
        faults = list(self._faults)
        if open_still := set(self._started) - self._ended:
            faults.append(f"{len(open_still)} events never ended")
        wanted = Counter((sound, round(start + at, 1)) for start in self._starts_s for sound, at in self._expected)
        heard = Counter(self._started.values())
        if missing := wanted - heard:
            faults.append(f"{missing.total()} events were lost, the first at {min(at for _, at in missing)} s")
        if extra := heard - wanted:
            faults.append(f"{extra.total()} events are too many, the first at {min(at for _, at in extra)} s")
        return faults
