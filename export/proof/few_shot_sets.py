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
from train.evaluate.embedding import clip_windows, read_samples
from train.evaluate.probing.probes import PROBES, class_accuracies, score_tasks, unit_length
from train.evaluate.sets import LabelledSet, by_group, read_folder
from train.evaluate.tasks import TaskSpec, sample_tasks

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
        return self.averaged(embed_heads(self.windows))

    def averaged(self, embeddings: dict[str, FloatArray]) -> dict[str, FloatArray]:
        """Embeddings of all windows, (W, D) of each head, to the means of each clip's: (N, D)."""
        counts = np.bincount(self.owner, minlength=len(self.labelled.paths))[:, None]
        result = {}
        for name, rows in embeddings.items():
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
        labelled = read_folder(path)
        windows, owner = _windows(labelled, clip_samples, sample_rate)
        sets.append(WindowedSet(labelled, _n_way(labelled), windows, owner))
        if all(clip.parent.name.startswith("digit_") for clip in labelled.paths):
            # A query is another word than the speaker's support.
            by_speaker = by_group(labelled, f"{labelled.name} by speaker")
            sets.append(WindowedSet(by_speaker, _n_way(by_speaker), *_windows(by_speaker, clip_samples, sample_rate)))
    return sets


def _n_way(labelled: LabelledSet) -> int:
    """5, or 4 where most classes are too small for 5-shot tasks (as is usual for such sets)."""
    return 4 if np.median(np.bincount(labelled.labels)) <= 5 else 5


def _windows(labelled: LabelledSet, size: int, sample_rate: int) -> tuple[FloatArray, NDArray[np.int64]]:
    windows = [clip_windows(read_samples(labelled, i, sample_rate), size) for i in range(len(labelled.paths))]
    return np.concatenate(windows), np.repeat(np.arange(len(windows)), [len(part) for part in windows])


def side_by_side(heads: dict[str, FloatArray]) -> FloatArray:
    """All heads of (N, D) each, brought to unit length first: (N, sum of D)."""
    return np.concatenate([unit_length(rows) for rows in heads.values()], axis=1)


def accuracies(
    windowed: WindowedSet, embeddings: dict[str, FloatArray], *, k_shot: int, n_episodes: int, classifier: str
) -> dict[str, tuple[float, float]]:
    """Accuracy in percent, and the half-width of its 95 % interval over tasks, of each head and of all side by side."""
    rows = embeddings | ({ALL_HEADS: side_by_side(embeddings)} if len(embeddings) > 1 else {})
    spec = TaskSpec(n_way=windowed.n_way, k_shot=k_shot, n_queries=3, n_tasks=n_episodes, n_unknown=0)
    tasks = sample_tasks(windowed.labelled, spec, skip_small=True)
    result = {}
    for name, values in rows.items():
        scores = score_tasks(values, tasks, {classifier: PROBES[classifier]})[classifier]
        each = 100 * class_accuracies(scores).mean(axis=1)
        result[name] = (float(each.mean()), 1.96 * float(each.std()) / float(np.sqrt(len(each))))
    return result
