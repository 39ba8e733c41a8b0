"""The device's own head as a probe of ``python -m train evaluate``: what is evaluated is what people run.

Recordings are taught as `earmark enrol` teaches them and heard as `earmark listen` hears them, with the model file's
own background bank; a clip's score is that of the window that speaks loudest. The evaluation asks for it by name,
``--probes ... export.proof.device_probe:device_head``: training knows neither this package nor the device.
"""

import logging
from pathlib import Path

import numpy as np

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.enrolment.example_windows import example_windows
from device_app.enrolment.head import Examples, Head, fit_head
from device_app.errors import AudioError
from device_app.model.embedder import Embedder, load_embedder
from export.proof.decisions import HOP_S, stream_windows
from train.errors import EvaluationError
from train.evaluate.probing.probes import TaskScores
from train.evaluate.sets import LabelledSet
from train.evaluate.tasks import Tasks

_log = logging.getLogger(__name__)


def device_head(subject: str, labelled: LabelledSet, tasks: Tasks) -> TaskScores:
    """Teach and ask the device, task by task.

    Args:
        subject: An exported file: only there is a background bank.
        labelled: The set.
        tasks: On it.

    Returns:
        Log-odds of each sound; minus infinity for a sound none of whose takes enrolment accepts.

    Raises:
        EvaluationError: If the subject is not an exported file.
        ModelFileError: If the file is damaged.
    """
    if Path(subject).suffix != ".onnx":
        raise EvaluationError(
            f"the device's head needs an exported file with its background bank, not {subject}: export it first"
        )
    clips = _Clips(load_embedder(Path(subject)), labelled)
    n_tasks, n_way, n_queries = tasks.queries.shape
    queries = np.full((n_tasks, n_way, n_queries, n_way), np.nan, dtype=np.float32)
    unknown = np.empty((*tasks.unknown.shape, n_way), dtype=np.float32)
    for t in range(n_tasks):
        examples = [
            Examples(f"{way:03}", str(clip), taught)
            for way in range(n_way)
            for clip in tasks.support[t, way].tolist()
            if len(taught := clips.taught(clip))
        ]
        names = tuple(example.recording for example in examples)
        head = None
        if examples:
            head = fit_head(
                examples,
                background=(),
                bank=clips.bank,
                head_sizes=clips.head_sizes,
                model_id=clips.model_id,
                recordings=names,
            ).head
        for place in np.argwhere(tasks.queries[t] >= 0):
            queries[t][tuple(place)] = _ask(head, clips.heard(int(tasks.queries[t][tuple(place)])), n_way)
        for u, clip in enumerate(tasks.unknown[t].tolist()):
            unknown[t, u] = _ask(head, clips.heard(clip), n_way)
    if clips.n_refused:
        _log.warning("%s: enrolment refuses %d of the clips that were to teach", labelled.name, clips.n_refused)
    return TaskScores(queries, unknown)


def _ask(head: Head | None, heard: FloatArray, n_way: int) -> FloatArray:
    """(n_way,) scores of a clip's (n_windows, size) embeddings."""
    scores = np.full(n_way, -np.inf, dtype=np.float32)
    if head is not None:
        scores[[int(sound) for sound in head.sounds]] = head.score(heard).max(axis=0)
    return scores


class _Clips:
    """Embedded windows of clips, each computed when it is first asked for."""

    def __init__(self, embedder: Embedder, labelled: LabelledSet) -> None:
        self._embedder = embedder
        self._labelled = labelled
        self._taught: dict[int, FloatArray] = {}
        self._heard: dict[int, FloatArray] = {}
        self.bank = embedder.background()
        self.head_sizes = embedder.head_sizes
        self.model_id = embedder.metadata.model_id
        self.n_refused = 0

    def taught(self, clip: int) -> FloatArray:
        """(n_windows, size) of what enrolment makes of a clip; none if it refuses it."""
        if clip not in self._taught:
            metadata = self._embedder.metadata
            try:
                rng = np.random.default_rng(clip)
                windows = example_windows(self._read(clip), metadata.sample_rate, metadata.clip_samples, rng)
                self._taught[clip] = self._embedder.embed(windows)
            except AudioError:
                self.n_refused += 1
                self._taught[clip] = np.zeros((0, self._embedder.size), dtype=np.float32)
        return self._taught[clip]

    def heard(self, clip: int) -> FloatArray:
        """(n_windows, size) of the windows that a listener meets."""
        if clip not in self._heard:
            metadata = self._embedder.metadata
            windows = stream_windows(self._read(clip), metadata.clip_samples, int(HOP_S * metadata.sample_rate))
            self._heard[clip] = self._embedder.embed(windows)
        return self._heard[clip]

    def _read(self, clip: int) -> FloatArray:
        return read_audio(self._labelled.paths[clip], self._embedder.metadata.sample_rate)
