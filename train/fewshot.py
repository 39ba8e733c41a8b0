"""Few-shot accuracy of embeddings on labelled clips, groups kept apart.

A set is a folder of class folders; ``groups.csv`` in it (path, group) names the speaker, recording or pitch of each
clip. A query never shares its group with a support clip of its class: the sound is tested, not the recording.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from train.backbone import Backbone
from train.config import Config
from train.corpus.decode import find_audio, read_clip
from train.errors import CorpusError
from train.frontend import LogMel

FloatArray = npt.NDArray[np.float32]
Classifier = Callable[[FloatArray, npt.NDArray[np.int64], FloatArray], npt.NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Clips of one set."""

    name: str
    paths: list[Path]
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]


def read_set(folder: Path) -> LabelledSet:
    """Read a set's file names, classes and groups; clips without an entry in ``groups.csv`` are groups of their own.

    Raises:
        CorpusError: If the folder holds no audio.
    """
    paths = find_audio(folder)
    groups_of: dict[str, str] = {}
    table = folder / "groups.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            groups_of = {row[0]: row[1] for row in csv.reader(file) if len(row) >= 2}
    relative = [path.relative_to(folder).as_posix() for path in paths]
    _, labels = np.unique([name.split("/")[0] for name in relative], return_inverse=True)
    _, groups = np.unique([groups_of.get(name, name) for name in relative], return_inverse=True)
    return LabelledSet(folder.name, paths, labels.astype(np.int64), groups.astype(np.int64))


@torch.no_grad()
def embed_files(backbone: Backbone, cfg: Config, paths: list[Path], batch_size: int = 64) -> list[FloatArray]:
    """Mean embedding of each file's windows (half a clip apart, the last one at the end), per branch.

    Returns:
        For each branch (n_files, head_dim) float32.
    """
    frontend = LogMel(cfg.frontend)
    backbone.eval()
    size = cfg.clip_samples
    windows, owners = [], []
    for index, path in enumerate(paths):
        samples = read_clip(path, cfg.frontend.sample_rate).astype(np.float32) / 32768
        if len(samples) < size:
            before = (size - len(samples)) // 2
            samples = np.pad(samples, (before, size - len(samples) - before))
        starts = sorted({*range(0, len(samples) - size + 1, size // 2), len(samples) - size})
        windows += [samples[start : start + size] for start in starts]
        owners += [index] * len(starts)
    parts: list[list[FloatArray]] = [[] for _ in backbone.tasks]
    for first in range(0, len(windows), batch_size):
        batch = torch.from_numpy(np.stack(windows[first : first + batch_size]))
        for branch, embedding in zip(parts, backbone(frontend(batch)), strict=True):
            branch.append(embedding.numpy())
    owner = np.array(owners)
    counts = np.bincount(owner, minlength=len(paths))[:, None]
    result = []
    for part in parts:
        sums = np.zeros((len(paths), part[0].shape[1]), dtype=np.float32)
        np.add.at(sums, owner, np.concatenate(part))
        result.append((sums / counts).astype(np.float32))
    return result


def unit_length(x: FloatArray) -> FloatArray:
    """Scale each row of (n, d) to length 1; zeros stay."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def nearest_prototype(support: FloatArray, labels: npt.NDArray[np.int64], queries: FloatArray) -> npt.NDArray[np.int64]:
    """Class of the nearest mean, by cosine (Snell et al. 2017, arXiv:1703.05175, with cosines)."""
    classes = np.unique(labels)
    prototypes = unit_length(np.stack([support[labels == c].mean(axis=0) for c in classes]))
    return classes[(queries @ prototypes.T).argmax(axis=1)]


def logistic_regression(
    support: FloatArray, labels: npt.NDArray[np.int64], queries: FloatArray
) -> npt.NDArray[np.int64]:
    """Class by multinomial logistic regression with an L2 penalty, C = 1."""
    return LogisticRegression(C=1.0, max_iter=200).fit(support, labels).predict(queries)


CLASSIFIERS: dict[str, Classifier] = {"prototype": nearest_prototype, "logistic": logistic_regression}


def accuracy(
    embeddings: FloatArray,
    labelled: LabelledSet,
    classify: Classifier,
    *,
    n_way: int = 5,
    k_shot: int = 1,
    n_queries: int = 3,
    n_episodes: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean accuracy over random episodes, and the half-width of its 95 % interval over episodes.

    Args:
        embeddings: (n_clips, d) float32; made unit length here.
        labelled: Their classes and groups.
        classify: Support, support labels and queries to query labels.
        n_way: Classes of an episode.
        k_shot: Support clips of a class.
        n_queries: Queries of a class, fewer where it has fewer.
        n_episodes: Episodes.
        seed: Of the choice of classes and clips.

    Raises:
        CorpusError: If fewer than ``n_way`` classes have enough clips of groups apart.
    """
    x = unit_length(embeddings)
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labelled.labels == c) for c in range(int(labelled.labels.max()) + 1)]
    usable = [m for m in members if len(m) > k_shot and len(np.unique(labelled.groups[m])) > 1]
    if len(usable) < n_way:
        raise CorpusError(f"{labelled.name} has {len(usable)} classes with clips of two groups, {n_way} are needed")
    scores = []
    for _ in range(n_episodes):
        support, support_labels, queries, query_labels = [], [], [], []
        for label, which in enumerate(rng.choice(len(usable), n_way, replace=False)):
            clips = rng.permutation(usable[which])
            chosen = clips[:k_shot]
            rest = clips[k_shot:]
            rest = rest[~np.isin(labelled.groups[rest], labelled.groups[chosen])][:n_queries]
            support.append(x[chosen])
            support_labels += [label] * len(chosen)
            queries.append(x[rest])
            query_labels += [label] * len(rest)
        answer = classify(np.concatenate(support), np.array(support_labels), np.concatenate(queries))
        scores.append(float(np.mean(answer == np.array(query_labels))))
    return float(np.mean(scores)), float(1.96 * np.std(scores) / np.sqrt(n_episodes))
