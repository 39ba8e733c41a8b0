"""``--source`` and what belongs to it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from device_app.commands.options import add_microphone, positive_int
from device_app.config import SAMPLE_FORMATS, ListenConfig
from device_app.errors import EarmarkError

if TYPE_CHECKING:
    from device_app.capture import Source


def add_source(parser: argparse.ArgumentParser) -> None:
    """The options that say what is listened to; the microphone's among them."""
    parser.add_argument(
        "--source",
        metavar="PATH|URL|-",
        help="instead of the microphone: a recording, a folder of them, a stream (rtsp:// or http://, needs ffmpeg), "
        "or - for raw audio on standard input",
    )
    parser.add_argument(
        "--realtime",
        action=argparse.BooleanOptionalAction,
        help="play a recording at its own pace, not as fast as possible",
    )
    parser.add_argument("--rate", type=positive_int, help="of --source -, in Hz (default: 16000)")
    parser.add_argument("--channels", type=positive_int, help="of --source -, interleaved (default: 1)")
    parser.add_argument("--format", choices=SAMPLE_FORMATS, help="of --source - (default: s16le)")
    add_microphone(parser)


def source_of(config: ListenConfig) -> "Source":
    """What the settings name.

    Raises:
        EarmarkError: If a channel is named that there cannot be, or a kind of address that is not read.
    """
    from device_app.capture import FileSource, MicrophoneSource, NetworkSource, StdinSource
    from device_app.capture.sources import NETWORK_SCHEMES

    if config.source is None:
        return MicrophoneSource(config.device, config.channel)
    if config.source == "-":
        return StdinSource(config.rate, config.channels, config.format, config.channel)
    if config.source.startswith(NETWORK_SCHEMES):
        return NetworkSource(config.source, config.channel)
    if "://" in config.source:
        scheme = config.source.partition("://")[0]
        raise EarmarkError(f"{scheme}:// is no address of a stream: {', '.join(NETWORK_SCHEMES)} are")
    return FileSource(Path(config.source).expanduser(), realtime=config.realtime, channel=config.channel)
