"""What a capture delivers (blocks of audio and notices about the source) and what it can be told to capture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from device_app.arrays import FloatArray
from device_app.errors import AudioError, DeviceError

State: TypeAlias = Literal["running", "lost", "retrying", "ended"]
Reason: TypeAlias = Literal["unplugged", "silent", "hung", "missing", "crashed"]


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
    """Why the source was ``lost``. ``silent`` only warns: the source goes on running and its audio goes on coming."""
    attempt: int = 0
    """With ``retrying``: counts from 1."""
    delay_s: float = 0.0
    """With ``retrying``: seconds until the attempt is made."""


@dataclass(frozen=True, slots=True)
class MicrophoneSource:
    """A microphone, recorded at its own rate."""

    device: str | None = None
    """A name that ``earmark devices`` lists; None for the system's default."""
    channel: int | None = None
    """The channel to take, from 0; None for the mean of all."""

    def __post_init__(self) -> None:
        if self.channel is not None and self.channel < 0:
            raise DeviceError(f"there is no channel {self.channel}: channels are counted from 0")

    def __str__(self) -> str:
        return f"the microphone {self.device!r}" if self.device else "the default microphone"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A recording, through the same process and buffers as a microphone's audio. None of it is ever dropped."""

    path: Path
    realtime: bool = False
    """Whether it comes at the pace at which it was recorded, or as fast as it is read."""
    channel: int | None = None
    """The channel to take, from 0; None for the mean of all."""

    def __post_init__(self) -> None:
        if self.channel is not None and self.channel < 0:
            raise AudioError(f"there is no channel {self.channel} in {self.path}: channels are counted from 0")

    def __str__(self) -> str:
        return str(self.path)


Source: TypeAlias = MicrophoneSource | FileSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a capture waits before it acts, in seconds."""

    hung_s: float = 2.5
    """A microphone that delivered and then gives no block for this long is restarted. With the time that a notice
    needs to get through, this keeps every loss within 3 s."""
    silent_s: float = 2.0
    """Exact zeros for longer than this are reported once."""
    slow_start_s: float = 2.8
    """A microphone that has not begun to deliver by then is reported, though not yet restarted."""
    start_s: float = 15.0
    """A process that has not opened its source by then is restarted: a cold start from an SD card takes seconds.
    A file whose process delivers nothing for this long is restarted too: a disk may have to spin up."""
    first_delay_s: float = 0.5
    """Before the first attempt to restart; each further one waits twice as long."""
    longest_delay_s: float = 10.0
