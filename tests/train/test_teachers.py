"""Teachers whose answers can be computed by hand: a network of one matrix product."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.tiny import tiny_config
from train import teachers
from train.corpus.cache import Cache
from train.corpus.sampling import Sampler
from train.errors import ConfigError, CorpusError
from train.network.system import PretrainingSystem
from train.run.loop import Trainer
from train.run.targets import TeacherAnswers
from train.teachers import TeacherSpec, WindowGrid, build_targets, load_targets, targets_folder

onnx = pytest.importorskip("onnx")
N = 4000


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``y = waveform @ M`` with a fixed (4000, 6) M; known as a teacher of quarter-second windows."""
    matrix = np.random.default_rng(0).standard_normal((N, 6)).astype(np.float32)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["waveform", "m"], ["y"])],
        "teacher",
        [helper.make_tensor_value_info("waveform", kind, ["n", N])],
        [helper.make_tensor_value_info("y", kind, ["n", 6])],
        [onnx.numpy_helper.from_array(matrix, "m")],
    )
    path = tmp_path / "linear.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    monkeypatch.setitem(teachers.TEACHERS, "linear", TeacherSpec(head="linear", sample_rate=16_000, context_s=0.25))
    return path


def matrix_of(teacher: Path) -> np.ndarray:
    return onnx.numpy_helper.to_array(onnx.load(teacher).graph.initializer[0])


@pytest.fixture
def own_cache(cache: Cache, tmp_path: Path) -> Cache:
    for path in cache.folder.glob("*.*"):
        (tmp_path / "cache").mkdir(exist_ok=True)
        (tmp_path / "cache" / path.name).write_bytes(path.read_bytes())
    return Cache(tmp_path / "cache")


def test_the_grid_numbers_every_window_once(cache: Cache) -> None:
    grid = WindowGrid(cache.clips, N, cache.sample_rate)
    windows = list(grid.windows())
    assert len(windows) == grid.n_windows
    for number, (clip, start) in enumerate(windows):
        assert grid.row(clip, start) == number
        assert start + N <= clip.n_samples or start == 0


def test_answers_are_the_teachers_for_each_window_and_resume_after_a_kill(
    own_cache: Cache, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "_WINDOWS_A_PART", 7)
    folder = build_targets(own_cache, teacher, N, progress=False)
    parts = sorted(folder.glob("part-*.npy"))
    answers = np.concatenate([np.load(part, allow_pickle=False) for part in parts])
    for number, (clip, start) in enumerate(WindowGrid(own_cache.clips, N, 16_000).windows()):
        window = np.zeros(N, np.float32)
        samples = own_cache.samples(clip, start, N)
        first = N // 2 - clip.n_samples // 2 if clip.n_samples < N else 0  # a short clip lies in the middle
        window[first : first + len(samples)] = samples / 32768.0
        np.testing.assert_allclose(answers[number], window @ matrix_of(teacher), rtol=2e-3, atol=0.2)
    kept = parts[0].stat().st_mtime_ns
    parts[1].unlink()
    (folder / "whole.json").unlink()
    with pytest.raises(CorpusError, match=r"holds no complete answers of linear.onnx"):
        load_targets(own_cache, teacher, N, 3)
    build_targets(own_cache, teacher, N, progress=False)
    assert parts[0].stat().st_mtime_ns == kept
    np.testing.assert_array_equal(np.concatenate([np.load(p, allow_pickle=False) for p in parts]), answers)


def test_targets_are_the_leading_principal_components_of_unit_length(own_cache: Cache, teacher: Path) -> None:
    folder = build_targets(own_cache, teacher, N, progress=False)
    answers = np.load(folder / "part-00000.npy", allow_pickle=False).astype(np.float64)
    centred = answers - answers.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:3].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    got = load_targets(own_cache, teacher, N, 3).numpy()
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.abs((got * expected).sum(axis=0)), (expected**2).sum(axis=0), rtol=1e-2)


def test_windows_of_a_batch_are_those_that_its_targets_are_about(own_cache: Cache, teacher: Path) -> None:
    build_targets(own_cache, teacher, N, progress=False)
    config = tiny_config(
        model={"tasks": ["invariant", "sensitive", "distilled"]},
        distil={"teachers": ["linear"], "teacher_weights": [1.0], "n_dims": 3},
        data={"clip_s": 0.25},
    )
    source = TeacherAnswers(config, own_cache, teacher.parent)
    batch = Sampler(own_cache, config, source.grid).batch(0, 6)
    windows = list(WindowGrid(own_cache.clips, N, 16_000).windows())
    targets = source(batch.clips, batch.rows)
    assert targets.shape == (1, 6, 3)
    for clip_, row in zip(batch.clips.numpy(), batch.rows.tolist(), strict=True):
        clip, start = windows[row]
        samples = own_cache.samples(clip, start, N) / np.float32(32768)
        if clip.n_samples >= N:
            np.testing.assert_array_equal(clip_, samples)
    np.testing.assert_array_equal(targets[0], load_targets(own_cache, teacher, N, 3)[batch.rows])


def test_a_teacher_may_be_asked_about_some_domains_alone(own_cache: Cache, teacher: Path) -> None:
    build_targets(own_cache, teacher, N, progress=False)
    folder = build_targets(own_cache, teacher, N, ["tones", "clicks"], progress=False)
    assert (
        json.loads((folder / "whole.json").read_text())["n_windows"] < WindowGrid(own_cache.clips, N, 16_000).n_windows
    )
    answers = load_targets(own_cache, teacher, N, 3, ["clicks", "tones"]).numpy()
    windows = WindowGrid(own_cache.clips, N, 16_000).windows()
    asked = np.array([clip.domain != "noises" for clip, _ in windows])
    np.testing.assert_allclose(np.linalg.norm(answers, axis=1), asked, atol=1e-5)
    whole = np.load(targets_folder(own_cache, teacher, N) / "part-00000.npy", allow_pickle=False)[asked]
    np.testing.assert_array_equal(np.load(folder / "part-00000.npy", allow_pickle=False), whole)
    with pytest.raises(ConfigError, match=r"has no clip of speech: it has clicks, noises, tones"):
        build_targets(own_cache, teacher, N, ["speech"], progress=False)


def test_more_clips_may_be_learnt_from_teachers_than_by_the_other_tasks(
    own_cache: Cache, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_targets(own_cache, teacher, N, progress=False)
    config = tiny_config(
        model={"tasks": ["invariant", "sensitive", "distilled"]},
        distil={"teachers": ["linear"], "teacher_weights": [1.0], "n_dims": 3, "batch_size": 10},
        data={"clip_s": 0.25},
        run={"batch_size": 4, "accumulate": 2, "max_steps": 1, "val_every": 0},
    )
    source = TeacherAnswers(config, own_cache, teacher.parent)
    trainer = Trainer(config, own_cache, tmp_path / "run", "cpu", show_progress=False, targets=source)
    seen = []
    forward = PretrainingSystem.forward

    def remembers(self: PretrainingSystem, *args: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(tuple(len(arg) if arg.ndim < 3 else arg.shape[:2] for arg in args))
        return forward(self, *args)

    monkeypatch.setattr(PretrainingSystem, "forward", remembers)
    trainer.run()
    assert seen == [(4, 2, 5, (1, 5))] * 2  # views, labels, clips and answers of either accumulated part
    batch, taught = trainer._draw(0)
    assert len(set(batch.rows.tolist()) & set(taught.rows.tolist())) < 4  # a draw of its own
    torch.testing.assert_close(taught.clips, trainer._draw(0)[1].clips, rtol=0, atol=0)
    with pytest.raises(ConfigError, match=r"distil.batch_size=9 cannot be divided"):
        Trainer(
            replace(config, distil=replace(config.distil, batch_size=9)),
            own_cache,
            tmp_path / "other",
            "cpu",
            show_progress=False,
            targets=source,
        )


def test_a_teacher_that_is_unknown_or_missing_is_refused(own_cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"yamnet.onnx is not a known teacher: choose among ge2e, mn04"):
        build_targets(own_cache, tmp_path / "yamnet.onnx", N, progress=False)
    with pytest.raises(ConfigError, match=r"there is no teacher"):
        build_targets(own_cache, tmp_path / "mn04.onnx", N, progress=False)
    config = tiny_config(
        model={"tasks": ["invariant", "distilled"]}, distil={"teachers": ["mn04"], "teacher_weights": [1.0]}
    )
    with pytest.raises(ConfigError, match=r"need their files: pass their folder with --teachers"):
        TeacherAnswers(config, own_cache, None)
