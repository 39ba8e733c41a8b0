"""What can be listened to: microphones, recordings, raw audio on standard input, streams from the network."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from device_app.errors import AudioError, DeviceError

_SECRETS = re.compile(r"(//)[^/\s]*@|(\?)[^\s'\"]+")
_NO_CHANNEL = "there is no channel {channel} in {source}: channels are counted from 0"


@dataclass(frozen=True, slots=True)
class MicrophoneSource:
    """A microphone, recorded at its own rate."""

    device: str | None = None
    """A name that ``earmark devices`` lists; None for the system's default."""
    channel: int | None = None
    """The channel to take, from 0; None for the mean of all."""
    live: ClassVar[bool] = True
    """Whether it goes on by itself: its audio is dropped and counted if nobody reads it, and it is started again when
    it is lost. What is not live waits for its reader and ends."""

    def __post_init__(self) -> None:
        if self.channel is not None and self.channel < 0:
            raise DeviceError(_NO_CHANNEL.format(channel=self.channel, source=self))

    def __str__(self) -> str:
        return f"the microphone {self.device!r}" if self.device else "the default microphone"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A recording, or a folder of them one after another, through the same process and buffers as a microphone's audio.

    The files of a folder are read in the order of their names, as if they were one recording.
    """

    path: Path
    realtime: bool = False
    """Whether it comes at the pace at which it was recorded, or as fast as it is read."""
    channel: int | None = None
    """The channel to take, from 0; None for the mean of all."""
    live: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.channel is not None and self.channel < 0:
            raise AudioError(_NO_CHANNEL.format(channel=self.channel, source=self))

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class StdinSource:
    """Raw interleaved samples on standard input, dated when they arrive."""

    sample_rate: int
    """Hz."""
    n_channels: int = 1
    sample_format: Literal["s16le", "f32le"] = "s16le"
    """16-bit integers, or floats in [-1, 1]; little-endian."""
    channel: int | None = None
    """The channel to take, from 0; None for the mean of all."""
    fd: int = 0
    """Where it is read."""
    live: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.channel is not None and not 0 <= self.channel < self.n_channels:
            raise AudioError(
                f"there is no channel {self.channel} in {self}: choose one of 0 to {self.n_channels - 1}, "
                "or none for their mean"
            )

    def __str__(self) -> str:
        return "standard input"


@dataclass(frozen=True, slots=True)
class NetworkSource:
    """A stream that ffmpeg fetches: RTSP as cameras speak it, or HTTP."""

    url: str
    channel: int | None = None
    """The channel to take, from 0; None for the mean of all."""
    live: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.channel is not None and self.channel < 0:
            raise DeviceError(_NO_CHANNEL.format(channel=self.channel, source=self))

    def __str__(self) -> str:
        return without_secrets(self.url)


Source: TypeAlias = MicrophoneSource | FileSource | StdinSource | NetworkSource
NETWORK_SCHEMES = ("http://", "https://", "rtsp://", "rtsps://")


def without_secrets(text: str) -> str:
    """The text without the user names, passwords and query strings of the URLs in it."""
    return _SECRETS.sub(lambda found: found[1] or "", text)
