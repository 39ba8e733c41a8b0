"""Whether two models that should be one make a device decide alike: sounds taught and heard with each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.enrolment.example_windows import example_windows
from device_app.enrolment.head import Examples, fit_head
from device_app.errors import AudioError
from device_app.model.embedder import Embedder

N_SOUNDS, N_ENROL, N_HEARD = 4, 5, 12
"""Sounds taught, recordings of each, and other recordings heard of every sound of the set."""
HOP_S = 0.25
"""Seconds from one window that is heard to the next."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Decisions on the same windows by heads that were taught the same recordings."""

    n_windows: int
    n_recognised: int
    """Windows in which the first model hears one of its sounds."""
    n_alike: int
    """Windows on which both say the same sound, or both none."""

    @property
    def share(self) -> float:
        """Windows decided alike, in [0, 1]."""
        return self.n_alike / self.n_windows


@dataclass(frozen=True, slots=True)
class Lesson:
    """Sounds to teach and sounds to hear, cut into windows: embed the windows with any model, and let it decide."""

    windows: FloatArray
    """(n, clip_samples) float32: those that teach, then those that are heard."""
    taught: tuple[tuple[str, str, int], ...]
    """Of each recording that teaches its sound, its name, and how many of the windows are its."""

    @property
    def n_heard(self) -> int:
        """Windows that are heard."""
        return len(self.windows) - sum(n for _, _, n in self.taught)

    def decide(self, embeddings: FloatArray, embedder: Embedder) -> NDArray[np.int64]:
        """Teach a head, then let it hear.

        Args:
            embeddings: (n, size) of the windows.
            embedder: Of the model that made them, wherever it ran.

        Returns:
            For each window that is heard the index of the sound that speaks loudest above its threshold; -1 for none.
        """
        examples, start = [], 0
        for sound, recording, n in self.taught:
            examples.append(Examples(sound, recording, embeddings[start : start + n]))
            start += n
        fit = fit_head(
            examples,
            background=(),
            bank=embedder.background(),
            head_sizes=embedder.head_sizes,
            model_id=embedder.metadata.model_id,
            recordings=tuple(f"{sound}:{recording}" for sound, recording, _ in self.taught),
        )
        scores = fit.head.score(embeddings[start:])
        return np.where(scores.max(axis=1) > 0, scores.argmax(axis=1), -1)


def make_lesson(
    enrolled: Sequence[tuple[str, Path]], heard: Sequence[Path], *, sample_rate: int, clip_samples: int, seed: int
) -> Lesson:
    """Cut recordings into windows as the device does.

    Args:
        enrolled: Sounds and their recordings.
        heard: Other recordings.
        sample_rate: Hz.
        clip_samples: Samples of a window.
        seed: Of the noise that is added to some of the windows that teach.
    """
    rng = np.random.default_rng(seed)
    windows, taught = [], []
    for sound, path in enrolled:
        try:
            cut = example_windows(read_audio(path, sample_rate), sample_rate, clip_samples, rng)
        except AudioError:  # a silent clip teaches nothing
            continue
        windows.append(cut)
        taught.append((sound, path.stem, len(cut)))
    hop = int(HOP_S * sample_rate)
    windows += [stream_windows(read_audio(path, sample_rate), clip_samples, hop) for path in heard]
    return Lesson(np.concatenate(windows), tuple(taught))


def agreement(first: Embedder, second: Embedder, recordings: dict[str, list[Path]], seed: int) -> Agreement:
    """Teach both models the same sounds, then let both hear the same windows.

    Args:
        first: A model.
        second: Another precision of the same model.
        recordings: Of each sound; the sounds that are taught are drawn, all are heard.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    enough = [name for name, paths in recordings.items() if len(paths) > N_ENROL]
    taught = [str(name) for name in rng.permutation(enough)[:N_SOUNDS]]
    enrolled: list[tuple[str, Path]] = []
    heard: list[Path] = []
    for name, paths in recordings.items():
        order = [paths[i] for i in rng.permutation(len(paths))]
        enrolled += [(name, path) for path in order[:N_ENROL] if name in taught]
        heard += order[N_ENROL : N_ENROL + N_HEARD]
    metadata = first.metadata
    lesson = make_lesson(
        enrolled, heard, sample_rate=metadata.sample_rate, clip_samples=metadata.clip_samples, seed=seed
    )
    answers = [lesson.decide(embedder.embed(lesson.windows), embedder) for embedder in (first, second)]
    return Agreement(lesson.n_heard, int(np.sum(answers[0] >= 0)), int(np.sum(answers[0] == answers[1])))


def stream_windows(waveform: FloatArray, clip_samples: int, hop: int) -> FloatArray:
    """Windows every ``hop`` samples: (n, clip_samples)."""
    padded = np.pad(waveform, (0, max(0, clip_samples - len(waveform))))
    return np.stack([padded[at : at + clip_samples] for at in range(0, len(padded) - clip_samples + 1, hop)])
