"""The capture process's file side: any format, rate and channel count that libsndfile reads, as mono blocks."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from device_app.arrays import FloatArray
from device_app.capture.protocol import encode_frame, encode_waveform
from device_app.errors import AudioError

_HIGHEST_PEAK = 16.0
"""Decoders overshoot full scale a little, and that is cut off; a peak beyond this is integers saved as floats."""


@dataclass(frozen=True, slots=True)
class FileOrder:
    """What the parent asks for."""

    path: str
    realtime: bool
    channel: int | None
    block_s: float
    start_sample: int
    """Where to begin: 0, or where an earlier process was stopped."""
    start_time: float
    """Wall clock, epoch seconds, that the file's first sample is dated with."""
    heard: bool
    """Whether an earlier process already delivered anything but zeros."""


def to_mono(frames: FloatArray, channel: int | None) -> FloatArray:
    """(n_samples, n_channels) float32 to (n_samples,) float32: one channel, or the mean of all."""
    if channel is not None:
        return np.ascontiguousarray(frames[:, channel])
    return frames[:, 0].copy() if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)


def read_file(order: FileOrder, send: Callable[[bytes], None]) -> None:
    """Send a file as frames of the protocol, as fast as the pipe takes them or at the pace of its recording.

    Raises:
        AudioError: If the file cannot be read, is empty or all zeros, or holds samples that are no sound.
    """
    path = Path(order.path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise AudioError(f"{path} {what}: name a recording (WAV, FLAC, OGG or MP3)")
    try:
        with soundfile.SoundFile(path) as file:
            _send_blocks(order, file, send)
    except soundfile.LibsndfileError as err:
        raise AudioError(
            f"cannot read {path} ({err.error_string.rstrip('.')}): give a WAV, FLAC, OGG or MP3 file"
        ) from err
    except OSError as err:
        raise AudioError(f"cannot read {path}: {err.strerror or err}; check the path and its permissions") from err


def _send_blocks(order: FileOrder, file: Any, send: Callable[[bytes], None]) -> None:
    rate = int(file.samplerate)
    if order.channel is not None and order.channel >= file.channels:
        raise AudioError(
            f"{order.path} has {file.channels} channel(s), so there is no channel {order.channel}: "
            f"choose one of 0 to {file.channels - 1}, or none for their mean"
        )
    if file.frames == 0:
        raise AudioError(f"{order.path} holds no audio: record it again")
    send(encode_frame({"type": "open", "sample_rate": rate, "n_channels": file.channels, "device": order.path}))
    if order.start_sample:
        file.seek(order.start_sample)
    n_block = max(1, round(order.block_s * rate))
    position, heard = order.start_sample, order.heard
    began = time.monotonic() - position / rate
    while True:
        frames = file.read(n_block, dtype="float32", always_2d=True)
        if not len(frames):
            break
        waveform = to_mono(_checked(frames, position, rate, order.path), order.channel)
        heard = heard or bool(waveform.any())
        if order.realtime:  # a block is there once its last sample has been played
            time.sleep(max(0.0, began + (position + waveform.size) / rate - time.monotonic()))
        header = {
            "type": "block",
            "n_lost": 0,
            "time": order.start_time + position / rate,
            "monotonic": began + position / rate,
        }
        send(encode_frame(header, encode_waveform(waveform)))
        position += waveform.size
    if position == 0:
        raise AudioError(f"{order.path} holds no audio: record it again")
    if not heard:
        raise AudioError(
            f"{order.path} is silent: all of its {position / rate:.1f} s are exact zeros; check how it was recorded"
        )
    send(encode_frame({"type": "end"}))


def _checked(frames: FloatArray, position: int, rate: int, path: str) -> FloatArray:
    peak = float(np.max(np.abs(frames)))
    if not np.isfinite(peak):
        bad = int(np.flatnonzero(~np.isfinite(frames).all(axis=1))[0])
        raise AudioError(
            f"{path} holds a sample that is not a number, {(position + bad) / rate:.3f} s from its start: "
            "export the recording again"
        )
    if peak > _HIGHEST_PEAK:
        raise AudioError(
            f"{path} holds samples up to {peak:.0f}, where full scale is 1, {position / rate:.1f} s from its start: "
            "divide them by full scale (32768 for 16-bit numbers) and save it again"
        )
    return np.clip(frames, -1.0, 1.0) if peak > 1.0 else frames
