"""What can be set, as frozen dataclasses that check themselves. :mod:`device_app.config_sources` fills them in.

Each entry is a key of config.toml, an environment variable and, for most, a flag; see docs/SERVICE.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from device_app.errors import EarmarkError

EVENT_TYPES = ("start", "update", "end", "source")
"""Of the JSON lines, see docs/EVENTS.md."""
EVERY_SOUND = "*"
SampleFormat: TypeAlias = Literal["s16le", "f32le"]
SAMPLE_FORMATS: tuple[SampleFormat, ...] = get_args(SampleFormat)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise EarmarkError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenConfig:
    """What is listened to, and with what."""

    device: str | None = None
    """A microphone that ``earmark devices`` lists; None for the system's default."""
    channel: int | None = None
    """Its channel to use, from 0; None for the mean of all."""
    source: str | None = field(default=None, repr=False)  # may hold a password
    """Instead of a microphone: a recording or a folder of them, a stream's URL, or ``-`` for raw audio on standard
    input."""
    realtime: bool = False
    """Play a recording at its own pace, not as fast as possible."""
    rate: int = 16_000
    """Hz, of raw audio."""
    channels: int = 1
    """Of raw audio, interleaved."""
    format: SampleFormat = "s16le"
    """Of raw audio."""
    wait: bool = False
    """If the microphone is missing at the start, wait for it."""
    profile: Path | None = None
    """Folder of the taught sounds; None for one in the user's data."""
    model: Path | None = None
    """Another model than the one that is shipped."""
    history: Path | None = None
    """Where past events are kept; None for a file in the user's data."""
    history_days: float = 365.0
    """Events that are older are forgotten."""
    learn_room: bool = False
    """Keep a sample of the embeddings of what is none of the taught sounds, never audio, for the next fit."""
    live: bool = False
    """A view for people in the terminal instead of JSON lines."""
    verbose: bool = False
    """Say more on stderr."""

    def __post_init__(self) -> None:
        _require(self.history_days > 0, f"listen.history_days={self.history_days} must be above 0")
        _require(self.channel is None or self.channel >= 0, f"listen.channel={self.channel}: they count from 0")
        _require(self.rate >= 1, f"listen.rate={self.rate} must be above 0")
        _require(self.channels >= 1, f"listen.channels={self.channels} must be above 0")
        _require(self.format in SAMPLE_FORMATS, f"listen.format={self.format!r}: choose of {', '.join(SAMPLE_FORMATS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecConfig:
    """Commands that are run when a sound is heard."""

    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of each sound, or of ``*`` for every one: program and arguments, run as they are, never by a shell."""
    on: tuple[str, ...] = ("start",)
    """When in an event's life: ``start``, ``update``, ``end``."""
    timeout_s: float = 30.0
    """A command that runs for longer is ended."""

    def __post_init__(self) -> None:
        _require(self.timeout_s > 0, f"exec.timeout_s={self.timeout_s} must be above 0")
        _check_types("exec.on", self.on, EVENT_TYPES[:3])
        for sound, command in self.commands.items():
            _require(bool(command) and bool(command[0]), f"exec.commands: {sound!r} has no command")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig:
    """An HTTP address that each event is posted to."""

    url: str | None = field(default=None, repr=False)  # may hold a secret
    """``http://`` or ``https://``; None for no webhook."""
    token: str | None = field(default=None, repr=False)
    """Sent as ``Authorization: Bearer``."""
    token_file: Path | None = None
    """File that holds the token instead."""
    sounds: tuple[str, ...] = (EVERY_SOUND,)
    """Only events of these are posted."""
    on: tuple[str, ...] = ("start", "end", "source")
    """Types of lines that are posted."""
    timeout_s: float = 10.0
    """How long the receiver may take to answer."""
    queue: Path | None = None
    """File of what waits to be posted; None for one in the user's data."""
    most_waiting: int = 10_000
    """When more lines wait than this, the oldest are given up."""

    def __post_init__(self) -> None:
        _require(self.timeout_s > 0, f"webhook.timeout_s={self.timeout_s} must be above 0")
        _require(self.most_waiting >= 1, f"webhook.most_waiting={self.most_waiting} must be above 0")
        _check_types("webhook.on", self.on, EVENT_TYPES)
        _require(not (self.token and self.token_file), "set webhook.token or webhook.token_file, not both")
        if self.url is not None:
            try:
                parts = urlsplit(self.url)
                usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            except ValueError:
                usable = False
            _require(usable, "webhook.url must look like https://host/path")  # not shown: it may hold a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipsConfig:
    """Recordings of what was heard."""

    folder: Path | None = None
    """Where they are saved; None for none."""
    pre_roll_s: float = 1.0
    """Seconds before an event's start that belong to its recording."""
    post_roll_s: float = 0.5
    """Seconds after its end, as far as they have been heard by then."""
    longest_s: float = 30.0
    """Of a longer event only its beginning is saved."""
    max_mb: float = 500.0
    """When they take more, the oldest are deleted."""
    max_days: float = 30.0
    """Older ones are deleted."""

    def __post_init__(self) -> None:
        for name in ("pre_roll_s", "post_roll_s"):
            _require(0 <= getattr(self, name) <= 60, f"clips.{name}={getattr(self, name)} must lie in [0, 60]")
        _require(0 < self.longest_s <= 600, f"clips.longest_s={self.longest_s} must lie in (0, 600]")
        for name in ("max_mb", "max_days"):
            _require(getattr(self, name) > 0, f"clips.{name}={getattr(self, name)} must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything. The sections carry the names of these fields."""

    listen: ListenConfig = field(default_factory=ListenConfig)
    exec: ExecConfig = field(default_factory=ExecConfig)
    webhook: WebhookConfig = field(default_factory=WebhookConfig)
    clips: ClipsConfig = field(default_factory=ClipsConfig)


def _check_types(name: str, chosen: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = [entry for entry in chosen if entry not in known]
    _require(not unknown, f"{name} holds {', '.join(map(repr, unknown))}: choose of {', '.join(known)}")
