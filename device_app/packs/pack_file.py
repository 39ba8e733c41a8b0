"""The zip file of a pack: a manifest, embeddings as npy and recordings as FLAC. No pickle, and nothing is unpacked.

::

    manifest.json
    embeddings/<recording id>.npy   (n_windows, size) float32
    recordings/<recording id>.flac  16 bit, mono

A pack may come from anybody: whatever is not exactly this is refused before anything of it is used. Entries are read by
name into memory, each up to a bound; none is written under a name that the pack chose.
"""

import contextlib
import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf

from device_app.arrays import FloatArray
from device_app.enrolment.example_windows import find_sound
from device_app.enrolment.profile_files import NewRecording, flac
from device_app.enrolment.profile_index import Recording
from device_app.enrolment.sound_names import BACKGROUND
from device_app.errors import AudioError, PackError
from device_app.packs.manifest import Manifest

_MANIFEST = "manifest.json"
_NAME = re.compile(r"manifest\.json|embeddings/[0-9a-f]{16}\.npy|recordings/[0-9a-f]{16}\.flac")
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<f4', 'fortran_order': False, 'shape': \((\d{1,4}), (\d{1,4})\), \} *\n",
    re.DOTALL,
)
"""The header of an array as numpy writes it (numpy.lib.format, version 1.0)."""
_MOST_MANIFEST = 16 << 20
_MOST_DIRECTORY = 8 << 20
"""Bytes of the zip file's list of entries, before it is parsed."""
_MOST_TOTAL = 1 << 30
"""Bytes of all entries when they are unpacked."""
_MOST_ROWS = 256
"""Windows of one recording; a long one of the background has 240."""
MOST_SAMPLES = 30_000_000
"""Samples of one recording: ten minutes at 48 kHz."""
_MOST_SAMPLES_IN_ALL = 20 * MOST_SAMPLES
_RATES = range(1000, 192_001)
"""Hz."""
_LONGEST_ROW = 1.01
"""Embeddings are of unit length, or zero."""


def write_pack(manifest: Manifest, embeddings: Mapping[str, FloatArray], recordings: Mapping[str, bytes]) -> bytes:
    """A pack as bytes.

    Args:
        manifest: Says which recordings there are.
        embeddings: Of each recording (n_windows, size) float32.
        recordings: FLAC files by recording; empty for a pack without audio.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(_MANIFEST, manifest.to_json())
        for recording_id, rows in embeddings.items():
            array = io.BytesIO()
            np.lib.format.write_array(array, np.ascontiguousarray(rows, "<f4"), version=(1, 0), allow_pickle=False)
            file.writestr(f"embeddings/{recording_id}.npy", array.getvalue())
        for recording_id, content in recordings.items():
            file.writestr(f"recordings/{recording_id}.flac", content, zipfile.ZIP_STORED)
    return buffer.getvalue()


class Pack:
    """An opened pack, all of which has been checked."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        """Check everything.

        Raises:
            PackError: If anything is not as it must be.
        """
        self._file = file
        self._entries = _check_entries(file)
        try:
            text = self._read(_MANIFEST, _MOST_MANIFEST).decode()
        except UnicodeDecodeError as err:
            raise PackError("its manifest is damaged (UnicodeDecodeError)") from err
        self.manifest = Manifest.from_json(text)
        recordings = [entry for entries in self.manifest.sounds.values() for entry in entries]
        expected = {_MANIFEST} | {f"embeddings/{entry.id}.npy" for entry in recordings}
        if self.manifest.with_audio:
            expected |= {f"recordings/{entry.id}.flac" for entry in recordings}
        if set(self._entries) != expected:
            raise PackError("its manifest does not name exactly what is in it")
        n_samples = 0
        for name, entries in self.manifest.sounds.items():
            for entry in entries:
                self.embeddings(entry.id)
                n_samples += self._check_recording(name, entry) if self.manifest.with_audio else 0
                if n_samples > _MOST_SAMPLES_IN_ALL:
                    raise PackError("its recordings are too long")

    def _check_recording(self, name: str, entry: Recording) -> int:
        """Number of samples of a recording from which its sound can be learned, with whatever model."""
        recording = self.recording(entry)
        if name != BACKGROUND:
            try:
                find_sound(recording.waveform, recording.sample_rate)
            except AudioError as err:
                raise PackError(f"nothing can be learned from recording {entry.id} of '{name}': {err}") from err
        return len(recording.waveform)

    def embeddings(self, recording_id: str) -> FloatArray:
        """(n_windows, size) float32 of a recording, all finite, rows of unit length or zero.

        Raises:
            PackError: If they are not.
        """
        size = self.manifest.embedding_size
        content = self._read(f"embeddings/{recording_id}.npy", 4 * _MOST_ROWS * size + 1000)
        # numpy's own parser evaluates the header as Python, with errors of many kinds; only one header can be right.
        header = _NPY.match(content)
        n_rows, width = (int(header[1]), int(header[2])) if header else (0, 0)
        fits = 0 < n_rows <= _MOST_ROWS and width == size
        if not header or not fits or len(content) - header.end() != 4 * n_rows * size:
            raise PackError(f"the embeddings of recording {recording_id} are not (n, {size}) of float32")
        rows = np.frombuffer(content, "<f4", offset=header.end()).reshape(n_rows, size).astype(np.float32)
        if not np.isfinite(rows).all() or np.linalg.norm(rows.astype(np.float64), axis=1).max() > _LONGEST_ROW:
            raise PackError(f"the embeddings of recording {recording_id} are not of unit length")
        return rows

    def recording(self, entry: Recording) -> NewRecording:
        """A recording, decoded.

        Raises:
            PackError: If it is not the FLAC file that the manifest says.
        """
        content = self._read(f"recordings/{entry.id}.flac", 2 * MOST_SAMPLES + 1_000_000)
        try:
            with sf.SoundFile(io.BytesIO(content)) as file:
                kind = (file.format, file.subtype, file.channels)
                fits = kind == ("FLAC", "PCM_16", 1) and 0 < file.frames <= MOST_SAMPLES and file.samplerate in _RATES
                if not fits:
                    raise PackError(f"recording {entry.id} is not FLAC of 16 bit, mono, of at most ten minutes")
                waveform, rate = file.read(dtype="float32"), file.samplerate
        except (sf.SoundFileError, OSError, RuntimeError) as err:
            raise PackError(f"recording {entry.id} cannot be decoded") from err
        recording = NewRecording(waveform, rate, entry.origin, entry.recorded)
        if recording.id != entry.id:
            raise PackError(f"recording {entry.id} is not what its id says: it was changed or damaged")
        return recording

    def _read(self, name: str, most: int) -> bytes:
        info = self._entries.get(name)
        if info is None:
            raise PackError(f"it has no {name}")
        if info.file_size > most:
            raise PackError(f"its {name} is too large")
        try:
            with self._file.open(info) as entry:
                content = entry.read(most + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            EOFError,
            NotImplementedError,
            RuntimeError,
            struct.error,
        ) as err:
            raise PackError(f"its {name} cannot be unpacked") from err
        if len(content) != info.file_size:
            raise PackError(f"its {name} is not of the length that it states")
        return content


@contextlib.contextmanager
def open_pack(path: Path) -> Iterator[Pack]:
    """Open and check a pack.

    Raises:
        PackError: If it cannot be read, or is not a pack that can be trusted to be one.
    """
    with contextlib.ExitStack() as opened:
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, a device never ends
                raise PackError("it is not a file")
            pack = opened.enter_context(_read(opened.enter_context(path.open("rb"))))
        except PackError as err:
            raise PackError(f"cannot use the pack {path}: {err}") from err
        except OSError as err:
            raise PackError(f"cannot read the pack {path}: {err.strerror or err}") from err
        try:
            yield pack
        except PackError as err:
            raise PackError(f"cannot use the pack {path}: {err}") from err


def check_pack(content: bytes) -> None:
    """Look at a pack as whoever imports it will.

    Raises:
        PackError: If it would be refused.
    """
    with _read(io.BytesIO(content)):
        pass


@contextlib.contextmanager
def _read(raw: BinaryIO) -> Iterator[Pack]:
    try:
        _check_end(raw)
        file = zipfile.ZipFile(raw)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as err:
        raise PackError("it is not a whole zip file") from err
    with file:
        yield Pack(file)


def _check_end(raw: BinaryIO) -> None:
    """Look at a zip file's last record before its list of entries, which may be of any length, is parsed."""
    length = raw.seek(0, io.SEEK_END)
    raw.seek(max(0, length - 42))
    tail = raw.read(42)
    end = tail[-22:]
    if len(end) < 22 or not end.startswith(b"PK\5\6") or end[20:] != b"\0\0":
        raise PackError("it is not a zip file as `earmark pack export` writes it")
    n_bytes, start = struct.unpack("<2L", end[12:20])  # of the list of entries
    if tail.startswith(b"PK\6\7") or n_bytes > _MOST_DIRECTORY:
        raise PackError("it has too many entries")
    if start + n_bytes + len(end) != length:
        raise PackError("it is not a zip file as `earmark pack export` writes it")
    raw.seek(0)


def _check_entries(file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in file.infolist():
        name = info.orig_filename
        if not _NAME.fullmatch(name) or info.filename != name:
            raise PackError(f"it has an entry {name[:80]!r}, which does not belong in a pack")
        if name in entries:
            raise PackError(f"it has two entries {name}")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or info.flag_bits & 1:
            raise PackError(f"its {name} is not a plain file")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise PackError(f"its {name} is packed in a way that packs do not use")
        entries[name] = info
    if sum(info.file_size for info in entries.values()) > _MOST_TOTAL:
        raise PackError("it is too large when it is unpacked")
    return entries


def recording_bytes(path: Path, sound: str, entry: Recording) -> bytes:
    """A recording of a profile as it goes into a pack.

    Raises:
        PackError: If it is too long for one, or damaged.
    """
    try:
        with sf.SoundFile(os.fsencode(path)) as file:
            if file.frames > MOST_SAMPLES:
                raise PackError(
                    f"the recording {entry.origin} of '{sound}' is too long for a pack: leave that sound out"
                )
            return flac(NewRecording(file.read(dtype="float32"), file.samplerate, entry.origin, entry.recorded), sound)
    except (sf.SoundFileError, OSError) as err:
        raise PackError(
            f"the recording {path} of '{sound}' is damaged: restore it, or export without --with-audio"
        ) from err
