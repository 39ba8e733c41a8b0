"""The capture process's file side: any format, rate and channel count that libsndfile reads, as mono blocks."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from device_app.arrays import FloatArray
from device_app.audio_file import find_audio
from device_app.capture.mono import to_mono
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
    first_file: int
    """Which file of a folder to begin with: 0, or where an earlier process was stopped."""
    origin_s: float
    """Where on the source's clock that file starts."""
    start_s: float
    """Where on the source's clock to begin: within that file."""
    start_time: float
    """Wall clock, epoch seconds, that the file's first sample is dated with."""
    heard: bool
    """Whether an earlier process already delivered anything but zeros."""


def read_file(order: FileOrder, send: Callable[[bytes], None]) -> None:
    """Send a file, or those of a folder in turn, as frames of the protocol: as fast as the pipe takes them, or paced.

    Raises:
        AudioError: If a file cannot be read, is empty or all zeros, or holds samples that are no sound. Such a
            file of a folder is reported and passed over.
    """
    reader = _Reader(order, send)
    path = Path(order.path)
    if not path.is_dir():
        reader.send_file(path, 0)
    else:
        for index, entry in list(enumerate(find_audio(path)))[order.first_file :]:
            try:
                reader.send_file(entry, index)
            except AudioError as err:
                send(encode_frame({"type": "unreadable", "sentence": f"{err}. It is passed over"}))
    if reader.position_s == 0.0:
        raise AudioError(f"{path} holds nothing that can be read: name a folder that holds recordings")
    if not reader.heard:
        raise AudioError(
            f"{path} is silent: all of its {reader.position_s:.1f} s are exact zeros; check how it was recorded"
        )
    send(encode_frame({"type": "end"}))


class _Reader:
    """Sends files one behind the other on one clock."""

    def __init__(self, order: FileOrder, send: Callable[[bytes], None]) -> None:
        self._order, self._send = order, send
        self._began = time.monotonic() - order.start_s
        self.position_s = order.origin_s
        """Behind the last sample of what was read."""
        self.heard = order.heard

    def send_file(self, path: Path, index: int) -> None:
        if not path.is_file():
            raise AudioError(f"{path} does not exist: name a recording (WAV, FLAC, OGG or MP3), or a folder of them")
        try:
            with soundfile.SoundFile(os.fsencode(path)) as file:
                self._send_blocks(path, index, file)
        except soundfile.LibsndfileError as err:
            raise AudioError(
                f"cannot read {path} ({err.error_string.rstrip('.')}): give a WAV, FLAC, OGG or MP3 file"
            ) from err
        except OSError as err:
            raise AudioError(f"cannot read {path}: {err.strerror or err}; check the path and its permissions") from err

    def _send_blocks(self, path: Path, index: int, file: Any) -> None:
        rate, order = int(file.samplerate), self._order
        if order.channel is not None and order.channel >= file.channels:
            raise AudioError(
                f"{path} has {file.channels} channel(s), so there is no channel {order.channel}: "
                f"choose one of 0 to {file.channels - 1}, or none for their mean"
            )
        if file.frames == 0:
            raise AudioError(f"{path} holds no audio: record it again")
        origin_s, position = self.position_s, 0
        if origin_s < order.start_s:  # an earlier process was stopped in this file
            position = min(round((order.start_s - origin_s) * rate), file.frames)
            file.seek(position)
        about = {"sample_rate": rate, "n_channels": file.channels, "device": str(path), "file": index}
        self._send(encode_frame({"type": "open", **about}))
        n_block = max(1, round(order.block_s * rate))
        while len(frames := file.read(n_block, dtype="float32", always_2d=True)):
            waveform = to_mono(_checked(frames, position, rate, path), order.channel)
            self.heard = self.heard or bool(waveform.any())
            start_s = origin_s + position / rate
            position += waveform.size
            self.position_s = origin_s + position / rate
            if order.realtime:  # a block is there once its last sample has been played
                time.sleep(max(0.0, self._began + self.position_s - time.monotonic()))
            header = {
                "type": "block",
                "n_lost": 0,
                "time": order.start_time + start_s,
                "monotonic": self._began + start_s,
            }
            self._send(encode_frame(header, encode_waveform(waveform)))
        if position == 0:
            raise AudioError(f"{path} holds no audio: record it again")
        self.position_s = origin_s + position / rate


def _checked(frames: FloatArray, position: int, rate: int, path: Path) -> FloatArray:
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
