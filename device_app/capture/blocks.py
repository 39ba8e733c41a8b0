"""What a capture delivers: blocks of audio, and notices about the source."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from device_app.arrays import FloatArray

State: TypeAlias = Literal["running", "lost", "retrying", "ended"]
Reason: TypeAlias = Literal["unplugged", "silent", "hung", "missing", "crashed", "unreadable"]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A stretch of audio without a gap."""

    waveform: FloatArray
    """(n_samples,) float32 mono in [-1, 1]."""
    sample_rate: int
    """Hz, the source's own. It may change when a microphone comes back as another device."""
    start_sample: int
    """Position of the first sample on the source's clock at ``sample_rate``; samples that were lost are counted."""
    n_lost: int
    """Samples lost just before this block: overruns, a full buffer, the time that a device was away."""
    time: float
    """Wall clock of the first sample, seconds since the epoch, estimated.

    A file's samples are dated as if it had been played from the moment at which its reading began.
    """

    @property
    def end_sample(self) -> int:
        """Position just behind the last sample."""
        return self.start_sample + self.waveform.size


@dataclass(frozen=True, slots=True)
class Notice:
    """A change in the state of a source."""

    state: State
    sentence: str
    """The same for people: what happened, where, and what happens next."""
    time: float
    """Wall clock, seconds since the epoch."""
    reason: Reason | None = None
    """Why the source was ``lost``. ``silent`` only warns: the source goes on running and its audio goes on coming.
    ``unreadable`` is one file of a folder, which is passed over."""
    attempt: int = 0
    """With ``retrying``: counts from 1."""
    delay_s: float = 0.0
    """With ``retrying``: seconds until the attempt is made."""
