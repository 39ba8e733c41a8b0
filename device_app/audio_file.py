"""Reading audio files: any format, rate and channel count that soundfile knows, as mono at the rate asked for."""

import contextlib
import os
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from device_app.arrays import FloatArray
from device_app.errors import AudioError

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"})
"""File names that count as audio when a folder is searched."""


def read_native(path: Path) -> tuple[FloatArray, int]:
    """Read a whole file as mono, at its own rate.

    Args:
        path: A file that soundfile can decode.

    Returns:
        (n_samples,) float32 in [-1, 1], at least one sample, all finite; and its rate in Hz.

    Raises:
        AudioError: If the file is missing, cannot be decoded, is empty, or holds values that are not numbers.
    """
    try:
        # As bytes: soundfile cannot open a name that is not UTF-8 as text.
        samples, native_rate = sf.read(os.fsencode(path), dtype="float32", always_2d=True)
    except (OSError, sf.SoundFileError) as err:
        reason = "no such file" if not path.exists() else "not audio that soundfile can read (WAV, FLAC, OGG, MP3)"
        raise AudioError(f"cannot read {path}: {reason}; check the file or convert it to WAV") from err
    if samples.size == 0:
        raise AudioError(f"{path} holds no audio: record it again")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} holds samples that are not numbers (NaN or infinity): record or export it again")
    return samples.mean(axis=1, dtype=np.float32), native_rate


def read_audio(path: Path, sample_rate: int) -> FloatArray:
    """Read a whole file as mono at ``sample_rate`` Hz, see :func:`read_native`."""
    return resample(*read_native(path), sample_rate)


def duration_s(path: Path) -> float:
    """Seconds of audio in a file, or in all below a folder; what cannot be read counts as none."""
    total = 0.0
    for file in find_audio(path) if path.is_dir() else [path]:
        with contextlib.suppress(OSError, sf.SoundFileError):
            about = sf.info(os.fsencode(file))
            total += about.frames / about.samplerate
    return total


def resample(waveform: FloatArray, native_rate: int, sample_rate: int) -> FloatArray:
    """Change the rate of a whole (n_samples,) float32 waveform with soxr's anti-aliased HQ resampler."""
    if native_rate == sample_rate:
        return waveform
    return np.asarray(soxr.resample(waveform, native_rate, sample_rate), dtype=np.float32)


def find_audio(folder: Path) -> list[Path]:
    """All audio files below a folder, by name, hidden ones left out.

    Raises:
        AudioError: If the folder holds none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        endings = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise AudioError(f"no audio files below {folder} (looked for {endings}): name a folder that holds recordings")
    return found
