"""Copies of recordings played slower and faster: voices, and throats of other sizes, that a corpus lacks.

Speed perturbation (Ko et al., Interspeech 2015) as it is used to add speakers: pitch, formants and tempo move together.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from train.corpus.decode import Int16Array, UnusableAudioError, find_audio, read_clip
from train.files import replace_file

SPEEDS = ((0.78, 0.93), (1.08, 1.28))
"""Each recording gets a copy from each of these ranges."""


def copy_at_speeds(folders: Sequence[Path], out: Path, sample_rate: int, progress: bool = True) -> int:
    """Write ``OUT/<folder>/<path>-<speed>.flac`` for every recording; those that are there already are kept.

    A copy's speed follows from its path, so that a second run makes the same files.

    Args:
        folders: Searched with all the folders in them; the name of each becomes the copies' domain.
        out: Folder for the copies.
        sample_rate: Of the copies, Hz.
        progress: Whether to draw a bar on stderr.

    Returns:
        How many copies there are now; recordings that cannot be used are left out.

    Raises:
        CorpusError: If a folder is missing or holds no audio.
    """
    sources = [(folder, path) for folder in folders for path in find_audio(folder)]
    n_copies = 0
    for folder, path in tqdm(sources, unit="file", desc="speeds", disable=not progress):
        name = f"{folder.resolve().name}/{path.relative_to(folder).with_suffix('').as_posix()}"
        try:
            samples = None
            for speed in _speeds(name):
                copy = out / f"{name}-{speed:.3f}.flac"
                if not copy.is_file():
                    samples = read_clip(path, sample_rate) if samples is None else samples
                    _write(copy, np.asarray(soxr.resample(samples, sample_rate * speed, sample_rate)), sample_rate)
                n_copies += 1
        except UnusableAudioError:
            continue
    return n_copies


def _speeds(name: str) -> list[float]:
    """One speed from each range, to three places."""
    digest = hashlib.sha256(name.encode()).digest()
    shares = [int.from_bytes(digest[4 * i : 4 * i + 4]) / 2**32 for i in range(len(SPEEDS))]
    return [round(low + share * (high - low), 3) for share, (low, high) in zip(shares, SPEEDS, strict=True)]


def _write(path: Path, samples: Int16Array, sample_rate: int) -> None:
    replace_file(path, lambda aside: soundfile.write(aside, samples, sample_rate, format="FLAC", subtype="PCM_16"))
