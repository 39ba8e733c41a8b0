"""What published networks say about the corpus, computed once: targets for the branch that learns from teachers.

A teacher is an ONNX file, waveform (batch, samples) in, embedding out. Its answers are stored beside the cache for a
grid of windows, half a second apart; training then draws its windows from that grid. Shapes: W windows of the corpus, D
dimensions of a teacher.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor
from tqdm import tqdm

from train.corpus.cache import Cache, Clip
from train.errors import ConfigError, CorpusError
from train.files import replace_file

_log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

GRID_S = 0.5
"""Seconds between the starts of two windows of the grid."""
_BATCH = 32
_WINDOWS_A_PART = 4096
_PCA_SAMPLE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherSpec:
    """What a published network knows, and how it wants its audio."""

    head: str
    """Name of the head that learns to answer as it does."""
    sample_rate: int
    """Hz."""
    context_s: float
    """Seconds around the middle of a window; what the clip lacks is zeros."""
    within: bool = False
    """Whether the context is moved so as to lie inside the clip; a shorter clip then starts with it."""
    first_dim: int = 0
    """Dimensions before this one are left out."""
    rms: float = 0.0
    """What each context is brought to, zeros around a short clip not counted; 0 leaves it as loud as it is."""


TEACHERS = {
    "mn04": TeacherSpec(head="events", sample_rate=32_000, context_s=1.0, first_dim=448),
    "speech-embedding": TeacherSpec(head="words", sample_rate=16_000, context_s=1.0),
    "ge2e": TeacherSpec(head="voice", sample_rate=16_000, context_s=1.6, within=True, rms=10 ** (-25 / 20)),
}
"""By the name of the file: EfficientAT mn04 (arXiv:2211.04772; the layer under its classifier), Google's
speech_embedding (arXiv:2002.01322), and Resemblyzer's GE2E (arXiv:1710.10467), whose mel powers have no logarithm: it
tells fsdd's speakers best at this level, and when a short clip is not in the middle."""


class WindowGrid:
    """Where the windows of a corpus start: all of a clip's, half a second apart, clip after clip."""

    def __init__(self, clips: Sequence[Clip], n_samples: int, sample_rate: int) -> None:
        self.hop = round(GRID_S * sample_rate)
        self._first: dict[tuple[int, int], int] = {}
        self._clips = clips
        self.counts = [max(0, clip.n_samples - n_samples) // self.hop + 1 for clip in clips]
        position = 0
        for clip, count in zip(clips, self.counts, strict=True):
            self._first[clip.shard, clip.start] = position
            position += count
        self.n_windows = position

    def row(self, clip: Clip, start: int) -> int:
        """Number of the window of a clip that starts nearest before sample ``start``."""
        return self._first[clip.shard, clip.start] + max(0, start) // self.hop

    def windows(self) -> Iterator[tuple[Clip, int]]:
        """Every window's clip and first sample, by number."""
        for clip, count in zip(self._clips, self.counts, strict=True):
            for i in range(count):
                yield clip, i * self.hop


def build_targets(
    cache: Cache, teacher: Path, n_samples: int, domains: Sequence[str] = (), progress: bool = True
) -> Path:
    """Ask a teacher about the windows of the grid; goes on where an earlier call was stopped.

    Args:
        cache: The corpus.
        teacher: An ONNX file whose name is one of :data:`TEACHERS`.
        n_samples: Samples of a window at the cache's rate.
        domains: Those whose clips it is asked about; none: all of them.
        progress: Whether to draw a bar on stderr.

    Returns:
        A folder ``targets/<teacher>-<hash>`` in the cache's, with parts of (n, D) float16 and, at last, ``whole.json``.

    Raises:
        ConfigError: If the teacher is missing or unknown, or no clip is of one of the domains.
    """
    import onnxruntime as ort

    spec = TEACHERS.get(teacher.stem)
    if spec is None:
        raise ConfigError(f"{teacher.name} is not a known teacher: choose among {', '.join(sorted(TEACHERS))}")
    if not teacher.is_file():
        raise ConfigError(f"there is no teacher {teacher}: docs/TRAINING.md says where the file is had")
    grid = WindowGrid(cache.clips, n_samples, cache.sample_rate)
    folder = targets_folder(cache, teacher, n_samples, domains)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(teacher), options, providers=["CPUExecutionProvider"])
    folder.mkdir(parents=True, exist_ok=True)
    windows = [window for window in grid.windows() if _is_asked(window[0], domains)]
    if not windows:
        raise ConfigError(
            f"distil.teacher_domains: the cache {cache.folder} has no clip of {', '.join(domains)}: it has "
            f"{', '.join(sorted({clip.domain for clip in cache.clips}))}"
        )
    n_parts = -(-len(windows) // _WINDOWS_A_PART)
    with tqdm(total=len(windows), unit="window", desc=teacher.stem, disable=not progress) as bar:
        for number in range(n_parts):
            part = windows[number * _WINDOWS_A_PART : (number + 1) * _WINDOWS_A_PART]
            path = folder / f"part-{number:05d}.npy"
            if not path.is_file():
                _write_array(path, _ask(session, spec, cache, part, n_samples))
            bar.update(len(part))
    about = {"n_windows": len(windows), "n_parts": n_parts, "cache": cache.sha256, "teacher": teacher.stem}

    def write(aside: Path) -> None:
        aside.write_text(json.dumps(about), encoding="utf-8")

    replace_file(folder / "whole.json", write)
    return folder


def targets_folder(cache: Cache, teacher: Path, n_samples: int, domains: Sequence[str] = ()) -> Path:
    """Where a teacher's answers lie: named for the corpus, its file, the window and what it is asked about."""
    spec = TEACHERS.get(teacher.stem)
    about = " ".join([cache.sha256, _sha256(teacher), str(n_samples), str(GRID_S), str(spec), *sorted(domains)])
    digest = hashlib.sha256(about.encode())
    return cache.folder / "targets" / f"{teacher.stem}-{digest.hexdigest()[:12]}"


def _ask(
    session: Any, spec: TeacherSpec, cache: Cache, windows: Sequence[tuple[Clip, int]], n_samples: int
) -> FloatArray:
    name = session.get_inputs()[0].name
    answers = []
    for first in range(0, len(windows), _BATCH):
        part = windows[first : first + _BATCH]
        batch = np.stack([_context(cache, clip, start, n_samples, spec) for clip, start in part])
        answer = session.run(None, {name: batch})[0]
        answer = answer.reshape(len(batch), -1, answer.shape[-1]).mean(axis=1)
        answers.append(answer[:, spec.first_dim :])
    return np.concatenate(answers)


def _context(cache: Cache, clip: Clip, start: int, n_samples: int, spec: TeacherSpec) -> FloatArray:
    """(context,) float32 at the teacher's rate, around the middle of a window."""
    length = round(spec.context_s * cache.sample_rate)
    first = start + min(n_samples, clip.n_samples) // 2 - length // 2
    if spec.within:
        first = max(0, min(first, clip.n_samples - length))
    out = np.zeros(length, np.float32)
    lead = max(0, -first)
    samples = cache.samples(clip, max(0, first), length - lead)
    out[lead : lead + len(samples)] = samples
    out /= 32768.0
    rms = float(np.sqrt(np.sum(out * out) / max(1, len(samples))))
    if spec.rms and rms:
        out *= spec.rms / rms
    if spec.sample_rate != cache.sample_rate:
        out = np.asarray(soxr.resample(out, cache.sample_rate, spec.sample_rate), dtype=np.float32)
    return out


def _is_asked(clip: Clip, domains: Sequence[str]) -> bool:
    return not domains or clip.domain in domains


def load_targets(cache: Cache, teacher: Path, n_samples: int, n_dims: int, domains: Sequence[str] = ()) -> Tensor:
    """A teacher's answers to the windows of the grid, reduced by PCA (fitted on a sample, not whitened).

    Returns:
        (W, n_dims) float32, each row of unit length, or zeros where the teacher was not asked.

    Raises:
        CorpusError: If the answers are missing or incomplete.
    """
    folder = targets_folder(cache, teacher, n_samples, domains)
    whole = folder / "whole.json"
    if not whole.is_file():
        raise CorpusError(
            f"{folder} holds no complete answers of {teacher.name}: run `python -m train teachers` for this cache"
        )
    about = json.loads(whole.read_text(encoding="utf-8"))
    parts = [np.load(folder / f"part-{i:05d}.npy", allow_pickle=False) for i in range(about["n_parts"])]
    answers = np.concatenate(parts).astype(np.float32)
    if len(answers) != about["n_windows"]:
        raise CorpusError(f"{folder} is damaged: delete it and run `python -m train teachers` again")
    sample = answers[:: max(1, len(answers) // _PCA_SAMPLE)]
    mean = sample.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((sample - mean).T))
    reduced = (answers - mean) @ axes[:, ::-1][:, :n_dims].astype(np.float32)
    norm = np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-6)
    grid = WindowGrid(cache.clips, n_samples, cache.sample_rate)
    asked = np.repeat([_is_asked(clip, domains) for clip in cache.clips], grid.counts)
    out = np.zeros((grid.n_windows, n_dims), np.float32)
    out[asked] = reduced / norm
    return torch.from_numpy(out)


def _write_array(path: Path, array: FloatArray) -> None:
    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            np.save(file, array.astype(np.float16), allow_pickle=False)

    replace_file(path, write)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
