"""A tiny checkpoint, a tiny corpus and labelled set, and model files made from them."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import soundfile
import torch

from export import model_export
from export.model_export import export_model
from tests.export.networks import random_backbone
from tests.train.conftest import audio, cache
from tests.train.tiny import RATE, tiny_config
from train.checkpoint import CheckpointInfo, save_checkpoint
from train.config import Config
from train.corpus.cache import Cache

__all__ = ["audio", "cache"]

LEAST_COSINE = {"invariant": 0.93, "sensitive": 0.93}
"""Mean cosine of int8 to fp32 to ask of a network of width 8 with random weights, by head: it forgives less than a
trained one, most of all where whitening makes much of the little in which its embeddings differ."""
OTHER_LEAST_COSINE = 0.97

HEADS = ["invariant", "sensitive", "events", "other-teacher", "spectrum", "movement"]


def config() -> Config:
    return tiny_config(
        model={"tasks": ["invariant", "sensitive", "distilled", "speaker"], "width": 8, "head_dim": 16},
        distil={
            "teachers": ["mn04", "other-teacher"],
            "teacher_weights": [1.0, 1.0],
            "teacher_branches": ["distilled", "speaker"],
            "n_dims": 6,
        },
    )


@pytest.fixture(scope="session")
def few_windows() -> Iterator[None]:
    """An export draws fewer windows."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("N_BANK", "N_MEAN", "N_CALIBRATION", "N_TEST"):
            patch.setattr(model_export, name, 96)
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, cache: Cache) -> Path:
    cfg = config()
    backbone = random_backbone("parallel", width=8, head_dim=16, n_tasks=4, tasks=cfg.model.tasks, seed=3)
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    generator = torch.Generator().manual_seed(4)
    for i in range(2):
        state[f"students.{i}.weight"] = torch.randn(6, 16, generator=generator)
        state[f"students.{i}.bias"] = torch.randn(6, generator=generator)
    info = CheckpointInfo(step=7, git_commit="abc123", config_sha256=cfg.sha256(), corpus_sha256=cache.sha256)
    path = tmp_path_factory.mktemp("run") / "last.safetensors"
    save_checkpoint(path, info=info, config=cfg, model=state, training={})
    return path


@pytest.fixture(scope="session")
def models(few_windows: None, checkpoint: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``fp32.onnx`` and ``int8.onnx``."""
    folder = tmp_path_factory.mktemp("models")
    export_model(checkpoint, folder / "fp32.onnx", corpus=cache.folder, precision="fp32")
    export_model(checkpoint, folder / "int8.onnx", corpus=cache.folder, precision="int8")
    return folder


@pytest.fixture(scope="session")
def fewshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one labelled set: 5 pitches, 7 recordings of each."""
    folder = tmp_path_factory.mktemp("fewshot")
    rng = np.random.default_rng(1)
    rows = []
    for i in range(5):
        for j in range(7):
            t = np.arange(RATE // 2) / RATE
            clip = np.sin(2 * np.pi * 300 * 1.7**i * t) * np.exp(-3 * t) + 0.05 * rng.standard_normal(len(t))
            path = folder / "pitches" / f"pitch_{i}" / f"{j}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.3 * clip, RATE)
            rows.append(f"{path.parent.name}/{path.name},{i}-{j}")
    (folder / "pitches" / "groups.csv").write_text("\n".join(rows) + "\n")
    return folder
