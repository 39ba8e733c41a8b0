"""Recordings of what was heard, from a little before each event, in a folder that stays within its limits."""

import io
import logging
import os
import re
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import soundfile as sf

from device_app.arrays import Int16Array
from device_app.capture import Block
from device_app.config import ClipsConfig
from device_app.errors import EarmarkError
from device_app.files import write_aside
from device_app.listening.sound_event import SoundEvent

_log = logging.getLogger(__name__)

_BEHIND_S = 5.0
"""Audio that is kept before the pre-roll: an event is known only some windows after its start."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A block as it is kept: half as large as it came."""

    start_s: float
    end_s: float
    samples: Int16Array
    """(n_samples,) mono."""


@dataclass(slots=True)
class _Take:
    """The recording of an event that lasts."""

    start_s: float
    whole: Int16Array | None = None
    """(n_samples,) once it is as long as recordings may be."""


class ClipRecorder:
    """Keeps the last seconds of audio, and saves what belongs to an event when it ends.

    Saving takes some milliseconds of the listening's own time, so that the event's line names only what exists.

    Args:
        config: With a ``folder``.

    Raises:
        EarmarkError: If nothing can be written there.
    """

    def __init__(self, config: ClipsConfig) -> None:
        assert config.folder is not None
        self._config = config
        self._folder = config.folder
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise EarmarkError(
                f"there can be no folder {self._folder} ({err.strerror or err}): choose another with clips.folder"
            ) from err
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise EarmarkError(f"{self._folder} may not be written to: choose another with clips.folder")
        self._pieces: deque[_Piece] = deque()
        self._sample_rate = 0
        self._takes: dict[str, _Take] = {}
        """Of the events that last, by id."""

    def block(self, block: Block) -> None:
        """Take in audio; called after the events that ended with it were saved."""
        if block.n_lost or block.sample_rate != self._sample_rate:
            self._pieces.clear()  # a recording joins no audio from both sides of a gap
        self._sample_rate = block.sample_rate
        samples = np.clip(np.rint(block.waveform * 32767.0), -32768, 32767).astype(np.int16)
        rate = block.sample_rate
        self._pieces.append(_Piece(block.start_sample / rate, block.end_sample / rate, samples))
        end_s = block.end_sample / rate
        keep_from_s = end_s - self._config.pre_roll_s - _BEHIND_S
        for take in self._takes.values():
            if take.whole is None and end_s >= take.start_s + self._config.longest_s:
                take.whole = self._cut(take.start_s, take.start_s + self._config.longest_s)
            if take.whole is None:
                keep_from_s = min(keep_from_s, take.start_s)
        while self._pieces[0].end_s <= keep_from_s:
            self._pieces.popleft()

    def start(self, event: SoundEvent) -> None:
        """Keep what belongs to an event from now on."""
        self._takes[event.id] = _Take(event.start_s - self._config.pre_roll_s)

    def end(self, event: SoundEvent, time_of_start: datetime) -> Path | None:
        """Save an event's recording. Returns its path, or None if there is none: the reason is logged."""
        take = self._takes.pop(event.id, None)
        if take is None:
            return None
        samples = take.whole
        if samples is None:
            end_s = min(event.last_s + self._config.post_roll_s, take.start_s + self._config.longest_s)
            samples = self._cut(take.start_s, end_s)
        if not samples.size:
            return None
        buffer = io.BytesIO()
        sf.write(buffer, samples, self._sample_rate, format="FLAC", subtype="PCM_16")
        path = self._folder / clip_name(event, time_of_start)
        try:
            self._make_room(len(buffer.getbuffer()))
            write_aside(path, buffer.getvalue())
        except (EarmarkError, OSError) as err:
            _log.warning("no recording of this %s: %s", event.sound, err)
            return None
        return path

    def _cut(self, start_s: float, end_s: float) -> Int16Array:
        """(n_samples,) of what is kept between two moments."""
        pieces = [piece for piece in self._pieces if piece.end_s > start_s and piece.start_s < end_s]
        if not pieces:
            return np.zeros(0, np.int16)
        samples = np.concatenate([piece.samples for piece in pieces])
        first = max(0, round((start_s - pieces[0].start_s) * self._sample_rate))
        return samples[first : round((end_s - pieces[0].start_s) * self._sample_rate)]

    def _make_room(self, n_bytes: int) -> None:
        """Delete the oldest recordings until another one fits. Files that are not ours are left alone."""
        if not self._folder.is_dir():
            return
        oldest = time.time() - self._config.max_days * 86400.0
        known = sorted((path.stat().st_mtime, path) for path in self._folder.iterdir() if _OURS.fullmatch(path.name))
        sizes = [path.stat().st_size for _, path in known]
        too_much = sum(sizes) + n_bytes - self._config.max_mb * 1e6
        for (modified, path), size in zip(known, sizes, strict=True):
            if too_much <= 0 and modified >= oldest:
                return
            path.unlink(missing_ok=True)
            too_much -= size


_OURS = re.compile(r"\d{8}T\d{6}Z_.*_[0-9a-f]{32}\.flac")


def clip_name(event: SoundEvent, time_of_start: datetime) -> str:
    """When, what, how sure and which event; it sorts by time."""
    sound = re.sub(r"[^\w.+-]+", "-", event.sound)
    return f"{time_of_start.astimezone(UTC):%Y%m%dT%H%M%SZ}_{sound}_{event.score:.1f}_{event.id}.flac"
