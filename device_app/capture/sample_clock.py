"""Tells from when blocks arrive how much audio went missing between them, and when their samples were heard."""

import math
from collections import deque

_GAP_S = 0.25
"""Blocks come in bursts through a sound server, a fifth of a second apart; a smaller gap cannot be told from that."""
_WINDOW_S = 1.0
_DRIFT = 200e-6
"""Sound cards' clocks are off by up to some 100 parts in a million: this much is no loss."""


class SampleClock:
    """The moment of a stream's samples, from the arrival of its blocks.

    A block arrives at the earliest when its last sample has been heard, and often later. So the least delay of the last
    second is the true one, and if even that has grown, audio is missing: a device that stalls or a sound server that
    moves a stream to another device loses audio without saying so. This is found within a second; the blocks until then
    are dated too early by what is missing.

    Args:
        sample_rate: Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._position = 0
        self._offset = math.nan  # moment of sample 0, seconds
        self._recent: deque[tuple[float, float]] = deque()  # (moment, offset)

    def add(self, n_samples: int, n_lost: int, heard: float) -> tuple[int, float]:
        """Take in a block.

        Args:
            n_samples: Its length.
            n_lost: Samples before it that are known to be lost.
            heard: When its first sample was heard, going by its arrival, in seconds on a clock that never jumps.

        Returns:
            The samples that were lost before it, known and found missing, and the moment of its first sample.
        """
        offset = heard - (self._position + n_lost) / self._rate
        self._recent.append((heard, offset))
        while heard - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()
        if math.isnan(self._offset):
            self._offset = offset
        self._offset = min(offset, self._offset + _DRIFT * n_samples / self._rate)
        full = len(self._recent) > 1 and heard - self._recent[0][0] > _WINDOW_S / 2
        missing_s = min(late for _, late in self._recent) - self._offset
        if full and missing_s > _GAP_S:
            n_missing = round(missing_s * self._rate)
            n_lost += n_missing
            self._recent = deque((moment, late - n_missing / self._rate) for moment, late in self._recent)
        self._position += n_lost
        first = self._offset + self._position / self._rate
        self._position += n_samples
        return n_lost, first
