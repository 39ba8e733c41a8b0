"""From a source file to clips: decoding, cutting, refusing what is silent or known already, writing FLAC."""

import hashlib
import io
import itertools
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from train.debian.packages import RAW
from train.debian.tools import RATE, Recipe, run
from train.files import replace_file

FloatArray = npt.NDArray[np.float32]

_PEAK_FLOOR = 10 ** (-50 / 20)
_RMS_FLOOR = 10 ** (-65 / 20)
_CANCELLED = 0.05
"""Channels whose sum has less than this share of the loudest one's power cancel each other."""


def decode(data: bytes, suffix: str) -> FloatArray:
    """Decode a file's bytes to mono at :data:`RATE`; what libsndfile does not know, by ffmpeg.

    Returns:
        (n_samples,) float32.

    Raises:
        CorpusError: If neither can.
    """
    if suffix not in RAW:
        try:
            samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, TypeError):
            pass  # ffmpeg may know it
        else:
            return _mono(samples, rate)
    options = ["-v", "error", "-nostdin", *RAW.get(suffix, []), "-i", "pipe:0"]
    raw = run(["ffmpeg", *options, "-ac", "1", "-ar", str(RATE), "-f", "f32le", "pipe:1"], stdin=data)
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)


def _mono(samples: FloatArray, rate: int) -> FloatArray:
    if not len(samples):
        return np.zeros(0, np.float32)
    mono = samples.mean(axis=1)
    power = (samples**2).mean(axis=0)
    if samples.shape[1] > 1 and (mono**2).mean() < _CANCELLED * power.max():
        mono = samples[:, int(power.argmax())]
    if rate != RATE:
        mono = soxr.resample(np.ascontiguousarray(mono), rate, RATE, quality="HQ")
    return np.nan_to_num(mono.astype(np.float32))


def spans(n_samples: int, domain: str, rng: random.Random, recipe: Recipe) -> list[tuple[int, int]]:
    """First and last sample (exclusive) of the clips to take from a source of ``n_samples``.

    Music is too much alike from one ten seconds to the next: a few excerpts at random, which do not overlap. Any other
    long recording is cut in a row.
    """
    size = int(recipe.clip_s * RATE)
    if n_samples <= size:
        return [(0, n_samples)]
    if domain == "music":
        slots = sorted(rng.sample(range(n_samples // size), min(recipe.music_excerpts, n_samples // size)))
        offset = rng.randrange(n_samples % size + 1)
        return [(offset + slot * size, offset + (slot + 1) * size) for slot in slots]
    cuts = [(first, min(first + size, n_samples)) for first in range(0, n_samples, size)]
    if cuts[-1][1] - cuts[-1][0] < size // 10:
        cuts.pop()
    return sorted(rng.sample(cuts, recipe.long_excerpts)) if len(cuts) > recipe.long_excerpts else cuts


class Known:
    """The clips kept so far; exact and near copies are refused.

    A near copy has about the same length (2 %) and a spectral fingerprint of 240 bits of which at most 12 differ; those
    of unrelated clips differ in about 120.
    """

    _BANDS, _FRAMES, _NEAR = 16, 17, 12

    def __init__(self) -> None:
        self._exact: set[str] = set()
        self._near: dict[int, list[tuple[int, npt.NDArray[np.uint8]]]] = {}

    def is_new(self, digest: str, samples: npt.NDArray[np.int16], near: bool) -> bool:
        """Whether a clip is new, and remember it; ``near`` says whether near copies count."""
        if digest in self._exact:
            return False
        self._exact.add(digest)
        if not near:
            return True
        n = len(samples)
        code = self._fingerprint(samples.astype(np.float32) / np.float32(32768))
        key = int(np.log(n) / 0.02)
        for bucket in (key - 1, key, key + 1):
            for length, other in self._near.get(bucket, ()):
                if abs(length - n) <= 0.02 * n and int(np.unpackbits(code ^ other).sum()) <= self._NEAR:
                    return False
        self._near.setdefault(key, []).append((n, code))
        return True

    def _fingerprint(self, x: FloatArray) -> npt.NDArray[np.uint8]:
        """Signs of how band energies change over time and frequency (Haitsma and Kalker 2002), on a fixed grid."""
        win, hop = 512, max(64, (len(x) - 512) // 64)
        starts = np.arange(0, max(len(x) - win, 1), hop)
        padded = np.pad(x, (0, win))
        power = np.abs(np.fft.rfft(np.stack([padded[s : s + win] for s in starts]) * np.hanning(win))) ** 2
        edges = np.unique(np.geomspace(3, win // 2, self._BANDS + 1).round().astype(int))
        if len(edges) != self._BANDS + 1:
            edges = np.linspace(3, win // 2, self._BANDS + 1).astype(int)
        bands = np.stack([power[:, a:b].mean(axis=1) for a, b in itertools.pairwise(edges)], axis=1)
        groups = np.array_split(np.arange(len(bands)), min(self._FRAMES, len(bands)))
        grid = np.stack([bands[group].mean(axis=0) for group in groups])
        if len(grid) < self._FRAMES:
            grid = np.repeat(grid, -(-self._FRAMES // len(grid)), axis=0)[: self._FRAMES]
        return np.packbits((np.diff(np.diff(np.log(grid + 1e-9), axis=1), axis=0) > 0).ravel())


@dataclass(slots=True)
class Writer:
    """Writes one package's clips and collects their lines of the manifest."""

    corpus: Path
    package: str
    version: str
    known: Known
    recipe: Recipe
    rows: list[dict[str, str]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=lambda: {"short or silent": 0, "copies": 0, "unreadable": 0})

    def add(self, x: FloatArray, domain: str, licence: str, kind: str, source: str, index: int) -> None:
        """Keep a clip, unless it is too short, silent, or known already.

        Args:
            x: (n_samples,) float32 at :data:`RATE`.
            domain: Its folder.
            licence: SPDX where there is one.
            kind: ``recorded``, ``rendered`` or ``synthetic``.
            source: Where it is from, within the package.
            index: Which of its source's clips it is.
        """
        peak = float(np.abs(x).max(initial=0.0))
        rms = float(np.sqrt(np.mean(x**2))) if len(x) else 0.0
        if len(x) < self.recipe.least_s * RATE or peak <= _PEAK_FLOOR or rms <= _RMS_FLOOR:
            self.dropped["short or silent"] += 1
            return
        samples = np.round((x / peak * 0.999 if peak > 0.999 else x) * 32767).astype("<i2")
        digest = hashlib.sha256(samples.tobytes()).hexdigest()
        if not self.known.is_new(digest, samples, near=kind == "recorded"):
            self.dropped["copies"] += 1
            return
        stem = re.sub(r"[^a-z0-9]+", "-", Path(source).stem.lower()).strip("-")[:40] or "clip"
        tag = hashlib.sha256(source.encode()).hexdigest()[:8]
        name = f"{domain}/{self.package}/{stem}-{tag}-{index:03d}.flac"

        def write(aside: Path) -> None:
            soundfile.write(aside, samples, RATE, format="FLAC", subtype="PCM_16")

        replace_file(self.corpus / name, write)
        self.rows.append(
            {
                "path": name,
                "package": self.package,
                "version": self.version,
                "domain": domain,
                "seconds": f"{len(samples) / RATE:.3f}",
                "licence": licence,
                "sha256": digest,
                "kind": kind,
                "source": source,
            }
        )
