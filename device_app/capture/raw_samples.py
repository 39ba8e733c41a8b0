"""The capture process's side of raw samples that come through a pipe: standard input, or ffmpeg's output."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from device_app.capture.mono import to_mono
from device_app.capture.protocol import encode_frame, encode_waveform
from device_app.errors import AudioError

_HIGHEST_PEAK = 16.0
"""Decoders overshoot full scale a little, and that is cut off; a peak beyond this is no float audio."""


@dataclass(frozen=True, slots=True)
class RawFormat:
    """What the bytes mean."""

    sample_rate: int
    n_channels: int
    dtype: Literal["<i2", "<f4", ">f4"]


@dataclass(frozen=True, slots=True)
class StdinOrder:
    """What the parent asks for."""

    fd: int
    """Where the samples come from."""
    sample_rate: int
    n_channels: int
    sample_format: Literal["s16le", "f32le"]
    channel: int | None
    block_s: float


def read_stdin(order: StdinOrder, send: Callable[[bytes], None]) -> None:
    """Send raw samples as frames of the protocol until their pipe is closed.

    Raises:
        AudioError: If nothing comes, or what comes is not in the format.
    """
    raw = RawFormat(order.sample_rate, order.n_channels, "<i2" if order.sample_format == "s16le" else "<f4")
    if not send_samples(order.fd, raw, order.channel, order.block_s, "standard input", send):
        raise AudioError("standard input ended before any audio came: check the command that writes it")
    send(encode_frame({"type": "end"}))


def send_samples(
    fd: int, raw: RawFormat, channel: int | None, block_s: float, name: str, send: Callable[[bytes], None]
) -> int:
    """Send what comes, as it comes, dated by its arrival. Samples that are not numbers are left out and counted.

    Returns:
        How many samples came, of each channel.

    Raises:
        AudioError: If the samples are no audio.
    """
    send(encode_frame({"type": "open", "sample_rate": raw.sample_rate, "n_channels": raw.n_channels, "device": name}))
    n_frame = np.dtype(raw.dtype).itemsize * raw.n_channels
    n_block = max(1, round(block_s * raw.sample_rate)) * n_frame
    total = n_unusable = 0
    ended = False
    while not ended:
        data = bytearray()
        while len(data) < n_block and not ended:
            piece = os.read(fd, n_block - len(data))
            ended = not piece
            data += piece
        arrived, wall = time.monotonic(), time.time()
        frames = np.frombuffer(data[: len(data) // n_frame * n_frame], raw.dtype).reshape(-1, raw.n_channels)
        total += len(frames)
        if not np.isfinite(frames).all():
            n_unusable += len(frames)
            continue
        if not len(frames):
            continue
        waveform = to_mono(frames.astype(np.float32), channel)
        if raw.dtype == "<i2":
            waveform /= np.float32(32768.0)
        if (peak := float(np.abs(waveform).max())) > _HIGHEST_PEAK:
            raise AudioError(f"{name} holds samples up to {peak:.3g}, where full scale is 1: check --format")
        length_s = len(frames) / raw.sample_rate
        header = {"type": "block", "n_lost": n_unusable, "time": wall - length_s, "monotonic": arrived - length_s}
        send(encode_frame(header, encode_waveform(np.clip(waveform, -1.0, 1.0))))
        n_unusable = 0
    return total
