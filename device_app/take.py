"""Recordings for enrolment: counted down, metered, and taken again where one does not do."""

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

import numpy as np

from device_app.arrays import FloatArray
from device_app.capture import Block, Capture, MicrophoneSource, Source
from device_app.errors import AudioError
from device_app.take_screen import TakeScreen, open_screen

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
_QUIETEST_DB = -75.0
"""dB below full scale: what counts as background even where the microphone delivers zeros."""


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


def record_takes(
    source: Source,
    takes: list[Take] | None = None,
    *,
    n_takes: int = 5,
    take_s: float = 3.0,
    countdown_s: int = 3,
    judge: Callable[[Take], str | None] | None = None,
    n_repeats: int = 3,
    out: TextIO | None = None,
) -> list[Take]:
    """Record takes one after another, each after a countdown; no key needs to be pressed.

    A take ends when a sound was heard and has ended, or after ``take_s``.

    Args:
        source: The microphone. A file does as well: countdown and takes then follow the file's time.
        takes: Finished takes are appended to it at once, so that what was finished survives Ctrl-C, a microphone that
            goes away and a take that is refused too often.
        n_takes: How many to record.
        take_s: Length of a take at most, seconds.
        countdown_s: Length of the countdown before each, seconds; what is heard in it is the background.
        judge: Says in a sentence why a take must be done again; None if it will do.
        n_repeats: How often one take may be repeated.
        out: Where the countdown and the meter go; standard error if None.

    Returns:
        ``takes``, or a new list.

    Raises:
        AudioError: If a take was refused more than ``n_repeats`` times, or a file ended before all were recorded.
        DeviceError: If the microphone is not there or goes away.
        KeyboardInterrupt: On Ctrl-C.
    """
    takes = [] if takes is None else takes
    first = len(takes)
    with (
        open_screen(out or sys.stderr) as screen,
        Capture(source, block_s=_BLOCK_S, buffer_s=60.0) as capture,
    ):
        recorder = _Recorder(capture, screen, take_s, countdown_s)
        while (number := len(takes) - first + 1) <= n_takes:
            for _ in range(n_repeats + 1):
                screen.say(f"take {number} of {n_takes}")
                take = recorder.record()
                refusal = judge(take) if judge else None
                if refusal is None:
                    break
                screen.say(f"again: {refusal}")
            else:
                raise AudioError(f"take {number} was refused {n_repeats + 1} times, at last because: {refusal}")
            takes.append(take)
            screen.say(f"kept {take.waveform.size / take.sample_rate:.1f} s")
    return takes


class _Recorder:
    def __init__(self, capture: Capture, screen: TakeScreen, take_s: float, countdown_s: int) -> None:
        self._capture, self._screen = capture, screen
        self._take_s, self._countdown_s = take_s, countdown_s
        self._waiting: deque[Block] = deque()
        self._ended = False

    def record(self) -> Take:
        """Count down, then record one take."""
        if isinstance(self._capture.source, MicrophoneSource):  # what came while the last take was judged is stale
            self._waiting.clear()
            self._receive(0.0)
        before, background_db = self._count_down()
        self._screen.say("now")
        return self._record_sound(before, background_db)

    def _count_down(self) -> tuple[list[Block], float]:
        """Listen to the background; its last moments, and its level in dB below full scale."""
        before: list[Block] = []
        levels = [_QUIETEST_DB]
        for left in range(self._countdown_s, 0, -1):
            self._screen.count(left)
            length_s = 0.0
            while length_s < 1.0:
                block = self._next_block()
                length_s += block.waveform.size / block.sample_rate
                levels.append(max(level_db(block.waveform), _QUIETEST_DB))
                before.append(block)
                self._screen.level(block.waveform)
        kept, kept_s = 0, 0.0
        while kept < len(before) and kept_s < _BEFORE_S:
            kept += 1
            kept_s += before[-kept].waveform.size / before[-kept].sample_rate
        # The median: neither a click in the countdown nor a sound that begins early makes it loud.
        return before[len(before) - kept :], float(np.median(levels))

    def _record_sound(self, before: list[Block], background_db: float) -> Take:
        blocks = list(before)
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
            if heard and quiet_s >= _AFTER_S and length_s >= _SHORTEST_S:
                break
        return Take(
            waveform=np.concatenate([block.waveform for block in blocks]),
            sample_rate=blocks[0].sample_rate,
            time=blocks[0].time,
            device=str(self._capture.source),
            n_lost=sum(block.n_lost for block in blocks[1:]),
            heard=heard,
        )

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


def level_db(waveform: FloatArray) -> float:
    """Root mean square of (n_samples,) float32 in dB below full scale; -inf for silence."""
    power = float(np.mean(np.square(waveform, dtype=np.float64))) if waveform.size else 0.0
    return 10.0 * np.log10(power) if power else -np.inf
