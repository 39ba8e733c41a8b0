"""Labelled sets, embedded by anything that embeds windows: what few-shot accuracy and decisions are measured on.

Shapes: W windows, N clips of a set, D size of a head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from export.errors import ExportError
from train.corpus.decode import read_clip
from train.fewshot import CLASSIFIERS, LabelledSet, accuracy, read_set, unit_length

EmbedHeads = Callable[[FloatArray], dict[str, FloatArray]]
"""Windows (W, clip_samples) float32 to (W, D) float32 of each head, each row of unit length."""

ALL_HEADS = "all heads"
"""All of them side by side, each of unit length."""


@dataclass(frozen=True, slots=True)
class WindowedSet:
    """A labelled set, its clips cut into windows."""

    labelled: LabelledSet
    n_way: int
    windows: FloatArray
    """(W, clip_samples) float32, clip after clip."""
    owner: NDArray[np.int64]
    """(W,) the clip that each window comes from."""

    @property
    def recordings(self) -> dict[str, list[Path]]:
        """The clips of each class, by the class's folder."""
        clips: dict[str, list[Path]] = {}
        for path in self.labelled.paths:
            clips.setdefault(path.parent.name, []).append(path)
        return clips

    def embed(self, embed_heads: EmbedHeads) -> dict[str, FloatArray]:
        """The mean of each clip's windows: (N, D) of each head."""
        counts = np.bincount(self.owner, minlength=len(self.labelled.paths))[:, None]
        result = {}
        for name, rows in embed_heads(self.windows).items():
            sums = np.zeros((len(counts), rows.shape[1]), np.float32)
            np.add.at(sums, self.owner, rows)
            result[name] = (sums / counts).astype(np.float32)
        return result


def read_sets(folder: Path, clip_samples: int, sample_rate: int) -> list[WindowedSet]:
    """Read all the sets of a folder.

    A set whose groups are speakers (``clips.csv`` names its digits ``digit_N``) is read twice: by what is said, and by
    who says it.

    Args:
        folder: With a folder for each set, which has a folder for each class.
        clip_samples: Samples of a window; windows start half of it apart, the last one ends with the clip.
        sample_rate: Hz.

    Raises:
        ExportError: If the folder holds no set.
        CorpusError: If a set holds no audio.
    """
    found = sorted(path.parent for path in folder.glob("*/groups.csv"))
    if not found:
        raise ExportError(f"{folder} holds no labelled set: name a folder with SET/groups.csv and SET/CLASS/CLIP.flac")
    sets = []
    for path in found:
        labelled = read_set(path)
        windows, owner = _windows(labelled.paths, clip_samples, sample_rate)
        sets.append(WindowedSet(labelled, _n_way(labelled), windows, owner))
        if all(clip.parent.name.startswith("digit_") for clip in labelled.paths):
            by_speaker = LabelledSet(
                f"{labelled.name} by speaker", labelled.paths, labelled.groups, labelled.labels
            )  # a query is another word than the speaker's support
            sets.append(WindowedSet(by_speaker, _n_way(by_speaker), windows, owner))
    return sets


def _n_way(labelled: LabelledSet) -> int:
    """5, or 4 where most classes are too small for 5-shot tasks (as is usual for such sets)."""
    return 4 if np.median(np.bincount(labelled.labels)) <= 5 else 5


def _windows(paths: list[Path], size: int, sample_rate: int) -> tuple[FloatArray, NDArray[np.int64]]:
    windows, owner = [], []
    for index, path in enumerate(paths):
        samples = read_clip(path, sample_rate).astype(np.float32) / 32768
        if len(samples) < size:
            before = (size - len(samples)) // 2
            samples = np.pad(samples, (before, size - len(samples) - before))
        starts = sorted({*range(0, len(samples) - size + 1, size // 2), len(samples) - size})
        windows += [samples[start : start + size] for start in starts]
        owner += [index] * len(starts)
    return np.stack(windows), np.array(owner)


def side_by_side(heads: dict[str, FloatArray]) -> FloatArray:
    """All heads of (N, D) each, brought to unit length first: (N, sum of D)."""
    return np.concatenate([unit_length(rows) for rows in heads.values()], axis=1)


def accuracies(
    windowed: WindowedSet, embeddings: dict[str, FloatArray], *, k_shot: int, n_episodes: int, classifier: str
) -> dict[str, tuple[float, float]]:
    """Accuracy in percent, and the half-width of its 95 % interval, of each head and of all of them side by side."""
    rows = embeddings | ({ALL_HEADS: side_by_side(embeddings)} if len(embeddings) > 1 else {})
    return {
        name: _percent(
            accuracy(
                values,
                windowed.labelled,
                CLASSIFIERS[classifier],
                n_way=windowed.n_way,
                k_shot=k_shot,
                n_episodes=n_episodes,
            )
        )
        for name, values in rows.items()
    }


def _percent(result: tuple[float, float]) -> tuple[float, float]:
    return 100 * result[0], 100 * result[1]
