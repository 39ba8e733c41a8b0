"""What a capture process says to its parent: frames of a JSON header and raw bytes, over a pipe.

A frame is ``EAR1``, the header's length and the payload's length (both uint32, little-endian), the header, the payload.
Headers have a ``type``:

``open``
    The source is open: ``sample_rate`` (Hz), ``n_channels``, ``device``; ``file``, which one of a folder's.
``block``
    Audio: ``n_lost`` (samples lost just before it), ``time`` (epoch seconds of its first sample), ``monotonic`` (the
    same moment on the system's monotonic clock); the payload is the waveform, little-endian float32, mono.
``unreadable``
    ``sentence``: a file of a folder was passed over.
``end``
    The file ended.
``devices``
    ``devices``: the input devices, as :class:`device_app.device_list.InputDevice` has them.
``error``
    ``kind`` (``library``, ``device`` or ``audio``), ``reason`` and ``sentence``; nothing comes after it.
"""

import json
import struct
from typing import Any, TypeAlias

import numpy as np

from device_app.arrays import FloatArray

_PREFIX = struct.Struct("<4sII")
_MAGIC = b"EAR1"
_LONGEST_HEADER = 1 << 20
_LONGEST_PAYLOAD = 1 << 28

Frame: TypeAlias = tuple[dict[str, Any], bytes]


class ProtocolError(Exception):
    """The other side does not speak the protocol: its process is of no use any more."""


def encode_frame(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """One frame as it goes over the pipe."""
    text = json.dumps(header).encode()  # in ASCII: a path may hold what is not UTF-8
    return _PREFIX.pack(_MAGIC, len(text), len(payload)) + text + payload


def encode_waveform(waveform: FloatArray) -> bytes:
    """(n_samples,) float32 as a payload."""
    return waveform.astype("<f4", copy=False).tobytes()


def decode_waveform(payload: bytes) -> FloatArray:
    """The (n_samples,) float32 of a payload.

    Raises:
        ProtocolError: If the payload does not hold whole samples.
    """
    if len(payload) % 4:
        raise ProtocolError(f"{len(payload)} bytes are not float32 samples")
    return np.frombuffer(payload, "<f4").astype(np.float32)


class FrameReader:
    """Puts frames together from pieces of any length."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take in what was read and return the frames that are now whole.

        Raises:
            ProtocolError: If the bytes are not frames.
        """
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        while len(self._buffer) - start >= _PREFIX.size:
            magic, n_header, n_payload = _PREFIX.unpack_from(self._buffer, start)
            if magic != _MAGIC or n_header > _LONGEST_HEADER or n_payload > _LONGEST_PAYLOAD:
                raise ProtocolError(f"not a frame: {bytes(self._buffer[start : start + _PREFIX.size])!r}")
            header_at = start + _PREFIX.size
            payload_at = header_at + n_header
            if len(self._buffer) < payload_at + n_payload:
                break
            try:
                header = json.loads(self._buffer[header_at:payload_at])
            except ValueError as err:
                raise ProtocolError(f"a frame's header is not JSON: {err}") from err
            if not isinstance(header, dict) or not isinstance(header.get("type"), str):
                raise ProtocolError(f"a frame's header has no type: {header!r}")
            frames.append((header, bytes(self._buffer[payload_at : payload_at + n_payload])))
            start = payload_at + n_payload
        del self._buffer[:start]
        return frames
