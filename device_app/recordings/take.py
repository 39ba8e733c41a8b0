"""Recordings for enrolment: counted down, metered, trimmed, and taken again where one does not do."""

import contextlib
import sys
from collections import deque
from dataclasses import dataclass, replace
from typing import TextIO

import numpy as np

from device_app.arrays import FloatArray
from device_app.capture import Block, Capture, MicrophoneSource, Source
from device_app.enrolment.example_windows import find_sound
from device_app.errors import AudioError
from device_app.recordings.take_findings import Finding
from device_app.recordings.take_keys import Keys
from device_app.recordings.take_screen import TakeScreen, open_screen

_BLOCK_S = 0.05
_BEFORE_S = 0.3
"""Kept from the end of the countdown: people begin early."""
_ONSET_DB = 10.0
"""Above the background: the sound has begun."""
_OFFSET_DB = 6.0
"""Above the background: below this it has ended."""
_AFTER_S = 0.6
"""Of background after a sound: it has ended, and was not only a pause in it."""
_SHORTEST_S = 1.0
"""Of a take, however short its sound."""
_MARGIN_S = 0.3
"""Kept on both sides of a sound when a take is trimmed: find_sound needs some background to see the sound against."""
_QUIETEST_DB = -75.0
"""dB below full scale: what counts as background even where the microphone delivers zeros."""
_NOTHING: FloatArray = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """One recording."""

    waveform: FloatArray
    """(n_samples,) float32 mono in [-1, 1]."""
    sample_rate: int
    """Hz, the microphone's own."""
    time: float
    """Wall clock of the first sample, seconds since the epoch."""
    device: str
    """What it was recorded from, in words."""
    n_lost: int
    """Samples that were lost within it."""
    heard: bool
    """Whether anything stood out from the background of the countdown."""
    background: FloatArray
    """(n,) float32: what was heard in the countdown before it."""


class Takes:
    """What becomes of takes: these are all good enough and kept in a list."""

    def __init__(self) -> None:
        self.kept: list[Take] = []

    def judge(self, take: Take) -> list[Finding]:
        """What is amiss with a take; one that is useless is recorded again."""
        return []

    def keep(self, take: Take) -> None:
        """Keep a finished take at once, so that it survives Ctrl-C and a microphone that goes away."""
        self.kept.append(take)

    def drop_last(self) -> None:
        """Give up the last one: the person takes it again."""
        self.kept.pop()


def record_takes(
    source: Source,
    takes: Takes,
    *,
    n_takes: int = 5,
    take_s: float = 3.0,
    countdown_s: int = 3,
    n_repeats: int = 3,
    whole: bool = False,
    keys: Keys | None = None,
    out: TextIO | None = None,
) -> None:
    """Record takes one after another, each after a countdown; no key needs to be pressed.

    A take ends when a sound was heard and has ended, or after ``take_s``, and is trimmed to the sound. Where there is a
    keyboard, ``r`` during a countdown means: the last one again.

    Args:
        source: The microphone. A file does as well: countdown and takes then follow the file's time.
        takes: Judges each take and keeps it.
        n_takes: How many to record.
        take_s: Length of a take at most, seconds.
        countdown_s: Length of the countdown before each, seconds; what is heard in it is the background.
        n_repeats: How often one take may be refused.
        whole: Whether a take lasts all of ``take_s``, whatever is heard: for recordings of the room.
        keys: Keys that the person presses.
        out: Where the countdown and the meter go; standard error if None.

    Raises:
        AudioError: If a take was refused more than ``n_repeats`` times, or a file ended before all were recorded.
        DeviceError: If the microphone is not there or goes away.
        KeyboardInterrupt: On Ctrl-C.
    """
    n_kept = n_refused = 0
    with (
        open_screen(out or sys.stderr) as screen,
        Capture(source, block_s=_BLOCK_S, buffer_s=60.0) as capture,
    ):
        recorder = _Recorder(capture, screen, take_s, countdown_s, whole=whole)
        while n_kept < n_takes or keys is not None:
            screen.say(f"take {n_kept + 1} of {n_takes}" if n_kept < n_takes else "done, unless you press r")
            recorder.count_down()
            if keys is not None and n_kept and "r" in keys.pressed():
                takes.drop_last()
                n_kept -= 1
                screen.say(f"take {n_kept + 1} of {n_takes} again")
            elif n_kept == n_takes:
                break
            take = recorder.record()
            findings = takes.judge(take)
            refusal = next((finding.sentence for finding in findings if finding.useless), None)
            if refusal is not None:
                n_refused += 1
                if n_refused > n_repeats:
                    raise AudioError(f"take {n_kept + 1} was refused {n_refused} times, at last because: {refusal}")
                screen.say(f"again: {refusal}")
                continue
            takes.keep(take)
            n_kept, n_refused = n_kept + 1, 0
            again = "; press r to take it again" if keys is not None else ""
            screen.say(f"kept {take.waveform.size / take.sample_rate:.1f} s{again}")
            for finding in findings:
                screen.say(f"  but {finding.sentence}")


class _Recorder:
    def __init__(self, capture: Capture, screen: TakeScreen, take_s: float, countdown_s: int, *, whole: bool) -> None:
        self._capture, self._screen = capture, screen
        self._take_s, self._countdown_s, self._whole = take_s, countdown_s, whole
        self._waiting: deque[Block] = deque()
        self._ended = False
        self._before: list[Block] = []

    def count_down(self) -> None:
        """Listen to the background."""
        if isinstance(self._capture.source, MicrophoneSource):  # what came while the last take was judged is stale
            self._waiting.clear()
            self._receive(0.0)
        self._before = []
        for left in range(self._countdown_s, 0, -1):
            self._screen.count(left)
            length_s = 0.0
            while length_s < 1.0:
                block = self._next_block()
                length_s += block.waveform.size / block.sample_rate
                self._before.append(block)
                self._screen.level(block.waveform)

    def record(self) -> Take:
        """Record one take, from the last moments of the countdown on."""
        self._screen.say("now")
        levels = [max(level_db(block.waveform), _QUIETEST_DB) for block in self._before]
        # The median: neither a click in the countdown nor a sound that begins early makes it loud.
        background_db = float(np.median([*levels, _QUIETEST_DB]))
        n_early, early_s = 0, 0.0
        while n_early < len(self._before) and early_s < _BEFORE_S:
            n_early += 1
            early_s += self._before[-n_early].waveform.size / self._before[-n_early].sample_rate
        n_background = len(self._before) - n_early
        blocks = self._before[n_background:]
        heard = self._record_sound(blocks, background_db)
        take = Take(
            waveform=np.concatenate([block.waveform for block in blocks]),
            sample_rate=blocks[0].sample_rate,
            time=blocks[0].time,
            device=str(self._capture.source),
            n_lost=sum(block.n_lost for block in blocks[1:]),
            heard=heard,
            background=np.concatenate([block.waveform for block in self._before[:n_background]] or [_NOTHING]),
        )
        return take if self._whole else _trimmed(take)

    def _record_sound(self, blocks: list[Block], background_db: float) -> bool:
        """Append blocks until a sound has ended; whether there was one."""
        heard, quiet_s, length_s = False, 0.0, 0.0
        while length_s < self._take_s:
            block = self._next_block()
            block_s = block.waveform.size / block.sample_rate
            length_s += block_s
            blocks.append(block)
            self._screen.level(block.waveform)
            above_db = level_db(block.waveform) - background_db
            heard = heard or above_db > _ONSET_DB
            quiet_s = 0.0 if above_db > _OFFSET_DB else quiet_s + block_s
            if heard and quiet_s >= _AFTER_S and length_s >= _SHORTEST_S and not self._whole:
                break
        return heard

    def _next_block(self) -> Block:
        while not self._waiting:
            self._waiting.extend(self._receive(1.0))
        return self._waiting.popleft()

    def _receive(self, timeout_s: float) -> list[Block]:
        blocks = []
        for item in self._capture.read(timeout_s):
            if isinstance(item, Block):
                blocks.append(item)
            elif item.state == "lost":
                self._screen.say(item.sentence)
            elif item.state == "ended":
                self._ended = True
        if not blocks and self._ended:
            raise AudioError(f"{self._capture.source} ended before all takes were recorded: give a longer recording")
        return blocks


def _trimmed(take: Take) -> Take:
    """From shortly before the sound's onset to shortly after its end; as it is if there is no sound in it."""
    with contextlib.suppress(AudioError):
        start, end = find_sound(take.waveform, take.sample_rate)
        margin = round(_MARGIN_S * take.sample_rate)
        first = max(0, start - margin)
        return replace(take, waveform=take.waveform[first : end + margin], time=take.time + first / take.sample_rate)
    return take


def level_db(waveform: FloatArray) -> float:
    """Root mean square of (n_samples,) float32 in dB below full scale; -inf for silence."""
    power = float(np.mean(np.square(waveform, dtype=np.float64))) if waveform.size else 0.0
    return 10.0 * np.log10(power) if power else -np.inf
