"""The capture process's network side: ffmpeg fetches and decodes a stream, at its own rate and channel count."""

import contextlib
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from device_app.capture.end_with_parent import die_with_parent
from device_app.capture.failures import LibraryError, UnpluggedError
from device_app.capture.raw_samples import RawFormat, send_samples
from device_app.capture.sources import without_secrets
from device_app.errors import DeviceError

_AU_HEADER = struct.Struct(">4s5I")
"""Sun's audio format: magic, where the samples begin, their length, encoding, rate (Hz), channels; big-endian."""
_AU_FLOAT = 6
_LAST_WORDS_S = 1.0


@dataclass(frozen=True, slots=True)
class NetworkOrder:
    """What the parent asks for."""

    url: str
    channel: int | None
    block_s: float


def read_stream(order: NetworkOrder, send: Callable[[bytes], None]) -> None:
    """Send a stream's sound as frames of the protocol until it breaks off.

    Raises:
        DeviceError: If ffmpeg is not installed or cannot fetch the stream, or the stream ends.
    """
    name = without_secrets(order.url)
    with _ffmpeg(order.url) as (output, because):
        header = _read(output, _AU_HEADER.size)
        if len(header) < _AU_HEADER.size:
            raise DeviceError(f"ffmpeg cannot fetch {name}{because()}: check the address and the network")
        magic, offset, _, encoding, rate, n_channels = _AU_HEADER.unpack(header)
        assert (magic, encoding) == (b".snd", _AU_FLOAT)
        _read(output, offset - _AU_HEADER.size)  # ffmpeg's annotation
        if order.channel is not None and order.channel >= n_channels:
            raise DeviceError(
                f"{name} has {n_channels} channel(s), so there is no channel {order.channel}: "
                f"choose one of 0 to {n_channels - 1}, or none for their mean"
            )
        send_samples(output, RawFormat(rate, n_channels, ">f4"), order.channel, order.block_s, name, send)
        raise UnpluggedError(f"{name} broke off{because()}")


@contextlib.contextmanager
def _ffmpeg(url: str) -> Iterator[tuple[int, Callable[[], str]]]:
    """Run ffmpeg; the descriptor that its output comes from, and what tells in brackets why that ended."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise LibraryError("ffmpeg, which fetches streams from the network, is missing: `sudo apt install ffmpeg`")
    command = [program, "-nostdin", "-hide_banner", "-loglevel", "error", "-fflags", "nobuffer"]
    if url.startswith("rtsp"):
        command += ["-rtsp_transport", "tcp"]  # over UDP a camera's audio has gaps
    command += ["-i", url, "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False, preexec_fn=die_with_parent
    )
    assert process.stdout
    assert process.stderr
    last_words: deque[str] = deque(maxlen=1)

    def listen_to(lines: Iterator[bytes]) -> None:
        for line in lines:
            text = without_secrets(line.decode(errors="replace").strip())
            print(text, file=sys.stderr)
            last_words.append(text)

    reader = threading.Thread(target=listen_to, args=[iter(process.stderr)], daemon=True)
    reader.start()

    def because() -> str:
        reader.join(_LAST_WORDS_S)  # they may come a moment after the output's end
        return f" ({last_words[-1].rstrip('.')})" if last_words else ""

    try:
        yield process.stdout.fileno(), because
    finally:
        process.kill()
        process.wait()


def _read(fd: int, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes and (piece := os.read(fd, n_bytes - len(data))):
        data += piece
    return data
