"""A model file with two heads that takes no training: what the tests of files and of the doctor open."""

import hashlib
from pathlib import Path

import numpy as np

from device_app.model.model_file import (
    BackgroundBank,
    FrontendMetadata,
    GoldenVectors,
    ModelMetadata,
    OutputMetadata,
    with_metadata,
)
from export.graph.graph_writer import GraphWriter
from export.runtime import embed, open_session

N_SAMPLES = 160


def metadata_of(graph: bytes) -> ModelMetadata:
    digest = hashlib.sha256(graph).hexdigest()
    frontend = FrontendMetadata(
        n_fft=64, win_length=64, hop_length=32, n_mels=8, f_min=0.0, f_max=800.0, log_floor=1e-3
    )
    return ModelMetadata(
        model_id=digest[:12],
        graph_bytes=len(graph),
        graph_sha256=digest,
        sample_rate=1600,
        clip_samples=N_SAMPLES,
        outputs=(
            OutputMetadata(name="what", size=4, description="what it is"),
            OutputMetadata(name="how", size=3, description="how it is made"),
        ),
        frontend=frontend,
        quantisation="fp32",
        backbone="a matrix",
        augmentations=("fade",),
        training_commit="abc",
        config_sha256="def",
        corpus_sha256="ghi",
        training_steps=1,
        licence="Apache-2.0",
        data_licence="CC0-1.0",
        created="2026-01-01",
        notes={"ünïcode": "naïve"},
    )


def tiny_graph(seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    writer = GraphWriter()
    for name, size in (("what", 4), ("how", 3)):
        weight = writer.constant(f"{name}.weight", rng.standard_normal((N_SAMPLES, size)).astype(np.float32))
        raw = writer.node("MatMul", ["waveform", weight], f"{name}.raw")
        writer.node("LpNormalization", [raw], name, axis=1, p=2)
    return writer.model(clip_samples=N_SAMPLES, outputs=[("what", 4), ("how", 3)]).SerializeToString()


def parts(graph: bytes) -> tuple[ModelMetadata, GoldenVectors, BackgroundBank]:
    rng = np.random.default_rng(1)
    session = open_session(graph)
    clip = rng.integers(-9000, 9000, N_SAMPLES).astype(np.int16)
    golden = embed(session, (clip.astype(np.float32) / 32768)[None], ["what", "how"])
    bank = embed(session, rng.standard_normal((100, N_SAMPLES)).astype(np.float32), ["what", "how"])
    vectors = GoldenVectors(clip, {name: rows[0] for name, rows in golden.items()})
    return metadata_of(graph), vectors, BackgroundBank.quantise(bank)


def write_tiny_model(path: Path) -> Path:
    graph = tiny_graph()
    path.write_bytes(with_metadata(graph, *parts(graph)))
    return path
