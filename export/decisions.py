"""Whether two models that should be one make a device decide alike: sounds taught and heard with each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.embedder import Embedder
from device_app.enrolment.example_windows import example_windows
from device_app.enrolment.head import Examples, Head, fit_head
from device_app.errors import AudioError

N_SOUNDS, N_ENROL, N_HEARD = 4, 5, 12
"""Sounds taught, recordings of each, and other recordings heard of every sound of the set."""
_HOP_S = 0.25


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
    rate, clip_samples = first.metadata.sample_rate, first.metadata.clip_samples
    windows = np.concatenate([_stream(read_audio(path, rate), clip_samples, int(_HOP_S * rate)) for path in heard])
    answers = []
    for embedder in (first, second):
        head = _taught(embedder, enrolled, seed)
        answers.append(_decide(head, embedder.embed(windows)))
    return Agreement(len(windows), int(np.sum(answers[0] >= 0)), int(np.sum(answers[0] == answers[1])))


def _taught(embedder: Embedder, enrolled: Sequence[tuple[str, Path]], seed: int) -> Head:
    rng = np.random.default_rng(seed)  # the same noise for both models
    rate, clip_samples = embedder.metadata.sample_rate, embedder.metadata.clip_samples
    examples = []
    for name, path in enrolled:
        try:
            windows = example_windows(read_audio(path, rate), rate, clip_samples, rng)
        except AudioError:  # a silent clip teaches neither model anything
            continue
        examples.append(Examples(name, path.stem, embedder.embed(windows)))
    return fit_head(
        examples,
        background=(),
        bank=embedder.background(),
        model_id=embedder.metadata.model_id,
        recordings=tuple(f"{name}:{path.stem}" for name, path in enrolled),
    )


def _decide(head: Head, embeddings: FloatArray) -> NDArray[np.int64]:
    """Index of the sound that speaks loudest above its threshold; -1 where none does."""
    scores = head.score(embeddings)
    return np.where(scores.max(axis=1) > 0, scores.argmax(axis=1), -1)


def _stream(waveform: FloatArray, clip_samples: int, hop: int) -> FloatArray:
    """Windows every ``hop`` samples: (n, clip_samples)."""
    padded = np.pad(waveform, (0, max(0, clip_samples - len(waveform))))
    return np.stack([padded[at : at + clip_samples] for at in range(0, len(padded) - clip_samples + 1, hop)])
