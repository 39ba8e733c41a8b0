"""Finding and reading audio files of any kind."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from train.errors import CorpusError

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
"""File name endings that are taken for audio; all of them are libsndfile's."""

Int16Array = npt.NDArray[np.int16]

_SILENT_PEAK = 1e-4
_FULL_SCALE = 32_000


class UnusableAudioError(Exception):
    """One file that cannot be trained on, with the reason; the corpus goes on without it."""


def find_audio(folder: Path) -> list[Path]:
    """All audio files in a folder and the folders in it, sorted by path; hidden ones are left out.

    Raises:
        CorpusError: If the folder is missing or holds none.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder: pass one that holds audio files")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        raise CorpusError(f"no audio in {folder}: looked in all its folders for files ending in {', '.join(SUFFIXES)}")
    return found


def read_clip(path: Path, sample_rate: int) -> Int16Array:
    """Decode a file to mono at ``sample_rate``, its peak brought near full scale.

    The level is free to change, because the front-end normalises every clip; a high one costs quiet recordings no bits.

    Returns:
        (n_samples,) int16.

    Raises:
        UnusableAudioError: If it cannot be decoded, or is empty, silent or not finite.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as err:
        raise UnusableAudioError(f"cannot be decoded ({err})") from err
    mono = samples.mean(axis=1)
    if not len(mono):
        raise UnusableAudioError("is empty")
    if not np.isfinite(mono).all():
        raise UnusableAudioError("holds values that are not finite")
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate)
    peak = float(np.abs(mono).max(initial=0.0))
    if peak < _SILENT_PEAK:
        raise UnusableAudioError("is silent")
    return np.round(mono * (_FULL_SCALE / peak)).astype(np.int16)
