"""The public labelled sets as a person's recordings: cut and embedded as enrolment does, and drawn in small tasks."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.enrolment.example_windows import N_VARIANTS, example_windows
from device_app.enrolment.head import Examples
from device_app.errors import AudioError
from device_app.model.embedder import Embedder

MOST_CLIPS_A_CLASS = 12
"""Of the sets by class: enough for many tasks, and few enough to embed in minutes."""


@dataclass(frozen=True, slots=True)
class LabelledClips:
    """A set, embedded."""

    name: str
    label: NDArray[np.int64]
    """(n_clips,) its class."""
    group: NDArray[np.int64]
    """(n_clips,) its speaker, recording or pitch: a query is of another group than what was taught of its class."""
    windows: list[FloatArray]
    """For each clip (n, size), its example windows, embedded."""
    log_mel: FloatArray
    """(n_clips, 128) mean and standard deviation over time of 64 log-mel bands: the control without a network."""

    def clean(self, clip: int) -> FloatArray:
        """The windows of a clip without added noise."""
        return self.windows[clip][: len(self.windows[clip]) // N_VARIANTS]


@dataclass(frozen=True, slots=True)
class Task:
    """Clips of one small task, by their places in the set."""

    taught: list[NDArray[np.int64]]
    """For each sound."""
    queries: list[NDArray[np.int64]]
    untaught: NDArray[np.int64]
    """Clips of the other classes."""


def sets_folder() -> Path:
    """Where the public sets are.

    Raises:
        FileNotFoundError: If they are not there.
    """
    folder = Path(os.environ.get("EARMARK_SHARED") or "../shared") / "data" / "fewshot"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the labelled sets are not at {folder}: set EARMARK_SHARED to the folder that holds them"
        )
    return folder


def read_set(name: str, embedder: Embedder, most: int = MOST_CLIPS_A_CLASS) -> list[LabelledClips]:
    """Embed a set, of each class so many clips; the spoken digits twice: by what is said, by who says it."""
    rows: list[dict[str, str]] = []
    n_of: dict[tuple[str, str], int] = {}
    by_speaker = name == "fsdd"
    with (sets_folder() / name / "clips.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = (row["class"], row["group"] if by_speaker else "")
            n_of[key] = n_of.get(key, 0) + 1
            if n_of[key] <= (4 if by_speaker else most):
                rows.append(row)
    kept, windows, log_mel = [], [], []
    rate, clip_samples = embedder.metadata.sample_rate, embedder.metadata.clip_samples
    for i, row in enumerate(rows):
        waveform = read_audio(sets_folder() / name / row["file"], rate)
        try:
            cut = example_windows(waveform, rate, clip_samples, np.random.default_rng(i))
        except AudioError:  # a silent clip teaches nothing
            continue
        kept.append(row)
        windows.append(embedder.embed(cut))
        log_mel.append(log_mel_statistics(cut[: len(cut) // N_VARIANTS], rate))
    label = np.unique([row["class"] for row in kept], return_inverse=True)[1]
    group = np.unique([row["group"] for row in kept], return_inverse=True)[1]
    sets = [LabelledClips(name, label, group, windows, np.stack(log_mel))]
    if by_speaker:
        sets.append(LabelledClips(f"{name} by speaker", group, label, windows, np.stack(log_mel)))
    return sets


def log_mel_statistics(windows: FloatArray, rate: int) -> FloatArray:
    """(128,) mean and standard deviation of 64 log-mel bands over the frames of (n, clip_samples) windows."""
    mel = librosa.feature.melspectrogram(y=windows, sr=rate, n_fft=512, hop_length=160, n_mels=64)
    log = np.log(mel + 1e-6)
    return np.concatenate([log.mean(axis=(0, 2)), log.std(axis=(0, 2))]).astype(np.float32)


def draw_tasks(
    clips: LabelledClips,
    n_tasks: int,
    *,
    n_way: int,
    k_shot: int,
    n_queries: int = 3,
    groups_apart: bool = True,
    seed: int = 0,
) -> Iterator[Task]:
    """Random tasks: ``n_way`` sounds, taught from ``k_shot`` clips each, groups of queries kept apart if wanted."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(clips.label == c) for c in range(clips.label.max() + 1)]
    usable = [m for m in members if len(m) > k_shot and len(np.unique(clips.group[m])) > 1]
    for _ in range(n_tasks):
        order = rng.permutation(len(usable))
        taught, queries = [], []
        for place in order[:n_way]:
            shuffled = rng.permutation(usable[place])
            rest = shuffled[k_shot:]
            taught.append(shuffled[:k_shot])
            if groups_apart:
                rest = rest[~np.isin(clips.group[rest], clips.group[shuffled[:k_shot]])]
            queries.append(rest[:n_queries])
        known = np.unique(clips.label[np.concatenate(taught)])
        others = [rng.permutation(m)[:2] for label, m in enumerate(members) if label not in known]
        yield Task(taught, queries, np.concatenate(others or [np.zeros(0, np.int64)]))


def examples_of(clips: LabelledClips, task: Task) -> list[Examples]:
    """What a task teaches; its sounds are called by their places."""
    return [
        Examples(f"{place:02d}", str(clip), clips.windows[clip])
        for place, taught in enumerate(task.taught)
        for clip in taught
    ]
