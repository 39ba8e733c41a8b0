from pathlib import Path

import numpy as np
import pytest

from device_app.audio_file import read_audio
from device_app.enrolment.example_windows import example_windows
from device_app.enrolment.head import Examples, fit_head
from device_app.model.embedder import load_embedder
from export.proof.decisions import HOP_S, stream_windows
from export.proof.device_probe import device_head
from tests.train.evaluate.made import write_clip
from train.errors import EvaluationError
from train.evaluate.probing.probes import class_accuracies
from train.evaluate.sets import LabelledSet, read_folder
from train.evaluate.tasks import TaskSpec, sample_tasks

SHIPPED = Path(__file__).resolve().parents[2] / "device_app" / "data" / "model.onnx"


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> LabelledSet:
    folder = tmp_path_factory.mktemp("tones")
    for c in range(4):
        for i in range(3):
            write_clip(folder / f"tone{c}" / f"{i}.wav", seed=10 * c + i, seconds=0.5, tone=250.0 * 2**c)
    return read_folder(folder)


def test_the_devices_head_tells_tones_apart_and_scores_are_its_own(tones: LabelledSet) -> None:
    tasks = sample_tasks(tones, TaskSpec(n_way=3, n_tasks=2, n_queries=2, n_unknown=1))
    found = device_head(str(SHIPPED), tones, tasks)
    assert found.queries.shape == (2, 3, 2, 3)
    assert found.unknown.shape == (2, 1, 3)
    assert class_accuracies(found).mean() == 1.0

    embedder = load_embedder(SHIPPED)
    examples = []
    for way, clip in enumerate(tasks.support[0, :, 0].tolist()):
        windows = example_windows(read_audio(tones.paths[clip], 16_000), 16_000, 16_000, np.random.default_rng(clip))
        examples.append(Examples(f"{way:03}", str(clip), embedder.embed(windows)))
    names = tuple(example.recording for example in examples)
    head = fit_head(
        examples,
        background=(),
        bank=embedder.background(),
        head_sizes=embedder.head_sizes,
        model_id="",
        recordings=names,
    ).head
    heard = stream_windows(read_audio(tones.paths[int(tasks.queries[0, 1, 0])], 16_000), 16_000, int(HOP_S * 16_000))
    np.testing.assert_allclose(found.queries[0, 1, 0], head.score(embedder.embed(heard)).max(axis=0), atol=1e-3)


def test_a_clip_that_enrolment_refuses_teaches_nothing(tones: LabelledSet, tmp_path: Path) -> None:
    for c in range(3):
        for i in range(2):
            seconds = 0.5 if c else 0.03  # shorter than any sound
            write_clip(tmp_path / f"{c}" / f"{i}.wav", seed=c + 10 * i, seconds=seconds, tone=300.0 * (c + 1))
    clips = read_folder(tmp_path)
    tasks = sample_tasks(clips, TaskSpec(n_way=3, n_tasks=1))
    found = device_head(str(SHIPPED), clips, tasks)
    place = int(np.flatnonzero(tasks.classes[0] == 0)[0])
    assert (found.queries[0, :, 0, place] == -np.inf).all()
    assert np.isfinite(np.delete(found.queries[0, :, 0], place, axis=1)).all()


def test_a_checkpoint_is_an_error_that_asks_for_an_exported_file(tones: LabelledSet) -> None:
    tasks = sample_tasks(tones, TaskSpec(n_way=3, n_tasks=1))
    with pytest.raises(
        EvaluationError, match=r"the device's head needs an exported file .* not runs/last\.safetensors"
    ):
        device_head("runs/last.safetensors", tones, tasks)
