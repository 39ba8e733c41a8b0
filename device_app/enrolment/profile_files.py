"""The folder of a profile: recordings, embeddings and the events that were corrected, each in a file of its own."""

import contextlib
import hashlib
import io
import os
from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import soundfile as sf

from device_app.arrays import FloatArray, Int16Array
from device_app.audio_file import read_native
from device_app.enrolment.profile_index import Index, Recording
from device_app.errors import AudioError
from device_app.files import npz, read_npz, remove_asides, write_aside


@dataclass(frozen=True, slots=True, eq=False)
class NewRecording:
    """A recording on its way into the profile."""

    waveform: FloatArray
    """(n_samples,) float32 mono in [-1, 1]."""
    sample_rate: int
    origin: str
    """The file it came from, or the microphone."""
    recorded: str | None = None
    """ISO 8601, UTC; None if nobody knows."""

    def __post_init__(self) -> None:
        """Make one line of text of where it came from: file names may hold anything."""
        object.__setattr__(self, "origin", one_line(self.origin))

    @property
    def pcm(self) -> Int16Array:
        """(n_samples,) int16: what is kept, and read back exactly."""
        return np.clip(np.rint(self.waveform * 32768.0), -32768, 32767).astype(np.int16)

    @property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of its 16-bit samples."""
        return hashlib.sha256(self.pcm.astype("<i2").tobytes()).hexdigest()[:16]

    def entry(self) -> Recording:
        """What the index says of it."""
        return Recording(self.id, self.origin, self.recorded or now())


def one_line(text: str) -> str:
    """Text that can be printed and stored as UTF-8: spaces of all kinds as plain ones, anything else replaced."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def now() -> str:
    """ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def flac(recording: NewRecording, sound: str) -> bytes:
    """A recording as the bytes of a FLAC file that says itself what it is, when and from what it was recorded."""
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", recording.sample_rate, 1, "PCM_16", format="FLAC") as file:
        file.title, file.comment, file.date = sound, recording.origin, recording.recorded or now()
        file.write(recording.pcm)
    return buffer.getvalue()


def read_flac(path: Path) -> NewRecording:
    """Read what :func:`flac` made.

    Raises:
        AudioError: If the file is missing or damaged.
    """
    waveform, sample_rate = read_native(path)
    with sf.SoundFile(os.fsencode(path)) as file:
        return NewRecording(waveform, sample_rate, file.comment, file.date or None)


class ProfileFiles:
    """The files of a profile, apart from its index and its head. The index names those that count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recording(self, recording_id: str) -> Path:
        """Where a recording is, or would be: one that came in a pack without audio is not there."""
        return self._folder / "recordings" / f"{recording_id}.flac"

    def embeddings(self, recording_id: str) -> Path:
        """Where the embeddings of a recording are, or will be."""
        return self._folder / "embeddings" / f"{recording_id}.npz"

    def event(self, event_id: str) -> Path:
        """Where the embeddings of a corrected event are."""
        return self._folder / "events" / f"{event_id}.npz"

    def write_recording(self, recording: NewRecording, sound: str) -> None:
        """Keep a recording.

        Raises:
            EarmarkError: If it cannot be written.
        """
        write_aside(self.recording(recording.id), flac(recording, sound))

    def mend_recording(self, recording: NewRecording, sound: str) -> bool:
        """Keep a recording that is known already, if its file is missing or damaged. Returns whether it was.

        It is then embedded again: embeddings that came without audio are nobody's but the pack's.

        Raises:
            EarmarkError: If it cannot be written.
        """
        path = self.recording(recording.id)
        with contextlib.suppress(AudioError):
            if path.exists() and NewRecording(*read_native(path), "").id == recording.id:
                return False
        self.write_recording(recording, sound)
        self.embeddings(recording.id).unlink(missing_ok=True)
        return True

    @staticmethod
    def write_embeddings(path: Path, embeddings: FloatArray, model_id: str, *, varied: bool = True) -> None:
        """Keep (n_windows, size) embeddings, which model they are of, and whether the windows' pitch was varied.

        Raises:
            EarmarkError: If they cannot be written.
        """
        write_aside(path, npz(embeddings=embeddings, model_id=model_id, varied=varied))

    @staticmethod
    def read_embeddings(path: Path, model_id: str, *, varied: bool | None = None) -> FloatArray | None:
        """(n_windows, size) float32, or None if there are none, none of this model, or none with pitch so varied."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            stored = read_npz(path)
            alike = varied is None or bool(stored.get("varied", True)) is varied
            if str(stored["model_id"]) == model_id and alike:
                return np.asarray(stored["embeddings"], dtype=np.float32)
        return None

    def forget(self, recording_ids: Iterable[str]) -> None:
        """Delete recordings and their embeddings."""
        for recording_id in recording_ids:
            self.recording(recording_id).unlink(missing_ok=True)
            self.embeddings(recording_id).unlink(missing_ok=True)

    def sweep(self, index: Index) -> None:
        """Delete what the index does not name: what was removed, and what a crash left behind."""
        events = {entry.event for entry in index.active_corrections if entry.event}
        _keep_only(self._folder / "recordings", index.recording_ids)
        _keep_only(self._folder / "embeddings", index.recording_ids)
        _keep_only(self._folder / "events", events)

    def remove_asides(self) -> None:
        """Delete what a crash left half-written; only for whoever holds the lock. The room has one of its own."""
        for folder in self._folder.glob("*/"):
            if folder.name != "room":
                remove_asides(folder)
        for aside in self._folder.glob(".*.part"):
            aside.unlink(missing_ok=True)


def _keep_only(folder: Path, names: Container[str]) -> None:
    for path in folder.glob("[!.]*"):
        if path.stem not in names:
            path.unlink(missing_ok=True)
