"""Proof that a model file is what was trained: torch against fp32 against the file, in every way that matters."""

import dataclasses
import json
import logging
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from device_app.arrays import FloatArray
from device_app.files import write_aside
from device_app.model.embedder import Embedder, load_embedder
from export.bench.stopwatch import race
from export.errors import ExportError
from export.graph.checkpoint_network import TrainedNetwork, choose_heads, read_network
from export.model_export import Windows, build_graph, describe, draw_windows
from export.proof.decisions import agreement
from export.proof.embedding_cosine import row_cosines
from export.proof.few_shot_sets import ALL_HEADS, EmbedHeads, WindowedSet, accuracies, read_sets
from export.proof.parity_table import parity_markdown
from export.proof.reference import Reference
from train.corpus.cache import Cache

_log = logging.getLogger(__name__)

K_SHOTS = (1, 5)
N_DRAWS = 3
"""Draws of taught sounds a set, for the decisions."""


def verify(
    model: Path, checkpoint: Path, *, corpus: Path, fewshot: Path | None, n_episodes: int = 1000
) -> dict[str, Any]:
    """Compare a model file with its checkpoint and write ``MODEL.parity.json`` and ``MODEL.parity.md`` beside it.

    Args:
        model: Made by ``python -m export``.
        checkpoint: That it was made from.
        corpus: Cache of the audio that was trained on.
        fewshot: Folder of labelled sets; None leaves accuracy and decisions out.
        n_episodes: Tasks for each accuracy.

    Returns:
        The report.

    Raises:
        ExportError: If the file was not made from this checkpoint.
    """
    shipped = load_embedder(model)
    trained = read_network(checkpoint)
    _require_same(shipped, trained, model, checkpoint)
    heads = list(shipped.heads)
    windows = draw_windows(Cache(corpus), trained.config)
    reference = Reference(trained, heads, windows.mean)
    with tempfile.TemporaryDirectory() as folder:
        fp32 = _fp32(Path(folder) / "fp32.onnx", trained, heads, windows)
        report: dict[str, Any] = {
            "model": model.name,
            "model_id": shipped.metadata.model_id,
            "precision": shipped.metadata.quantisation,
            "training_steps": shipped.metadata.training_steps,
            "training_commit": shipped.metadata.training_commit,
            "heads": {output.name: output.size for output in shipped.outputs},
            "golden_error": shipped.golden_error(),
            "machine": _machine(),
            "cosine": _cosines(windows.test, reference, fp32.embed_heads, shipped.embed_heads),
            "speed": _speed(fp32, shipped, windows.test),
        }
        report["size_bytes"] = {
            "fp32": (Path(folder) / "fp32.onnx").stat().st_size,
            "file": model.stat().st_size,
        }
        if fewshot is not None:
            sets = read_sets(fewshot, trained.config.clip_samples, trained.config.frontend.sample_rate)
            embed: dict[str, EmbedHeads] = {"torch": reference, "fp32": fp32.embed_heads, "file": shipped.embed_heads}
            report["few_shot"] = [row for windowed in sets for row in _few_shot(windowed, embed, n_episodes)]
            named_by_folder = [
                s for s in sets if s.labelled.name in {path.parent.parent.name for path in s.labelled.paths}
            ]
            report["decisions"] = [_decisions(windowed, fp32, shipped) for windowed in named_by_folder]
    report["verdict"] = _verdict(report)
    write_aside(model.with_suffix(".parity.json"), (json.dumps(report, indent=1) + "\n").encode())
    write_aside(model.with_suffix(".parity.md"), parity_markdown(report).encode())
    return report


def _require_same(shipped: Embedder, trained: TrainedNetwork, model: Path, checkpoint: Path) -> None:
    made = (shipped.metadata.config_sha256, shipped.metadata.training_steps, shipped.metadata.training_commit)
    if made != (trained.info.config_sha256, trained.info.step, trained.info.git_commit):
        raise ExportError(
            f"{model} (step {made[1]} of {made[2][:12]}) was not made from {checkpoint} (step {trained.info.step} of "
            f"{trained.info.git_commit[:12]}): name its own checkpoint, or export again"
        )


def _fp32(path: Path, trained: TrainedNetwork, heads: list[str], windows: Windows) -> Embedder:
    network = choose_heads(trained.network, heads)
    graph = build_graph(network, trained.config, None, windows.mean).SerializeToString()
    path.write_bytes(describe(graph, network, trained.config, trained.info, "fp32", windows.bank))
    return load_embedder(path)


def _cosines(clips: FloatArray, reference: EmbedHeads, fp32: EmbedHeads, shipped: EmbedHeads) -> dict[str, Any]:
    values = {"torch": reference(clips), "fp32": fp32(clips), "file": shipped(clips)}
    result: dict[str, Any] = {"n_clips": len(clips)}
    for name in values["torch"]:
        result[name] = {}
        for first, second in (("torch", "fp32"), ("fp32", "file")):
            cosine = row_cosines(values[first][name], values[second][name])
            result[name][f"{first} to {second}"] = {"mean": float(cosine.mean()), "worst": float(cosine.min())}
    return result


def _few_shot(windowed: WindowedSet, embed: dict[str, EmbedHeads], n_episodes: int) -> list[dict[str, Any]]:
    embeddings = {name: windowed.embed(embed_heads) for name, embed_heads in embed.items()}
    rows: list[dict[str, Any]] = []
    smallest = int(np.bincount(windowed.labelled.labels).min())
    for k_shot in K_SHOTS:
        if k_shot >= smallest:
            continue
        results = {
            name: accuracies(windowed, rows_, k_shot=k_shot, n_episodes=n_episodes, classifier="prototype")
            for name, rows_ in embeddings.items()
        }
        rows += [
            {
                "set": windowed.labelled.name,
                "n_way": windowed.n_way,
                "k_shot": k_shot,
                "head": head,
                "ci95": round(results["file"][head][1], 2),
                **{name: round(values[head][0], 2) for name, values in results.items()},
            }
            for head in results["file"]
        ]
        _log.info("%s %d-shot done", windowed.labelled.name, k_shot)
    return rows


def _decisions(windowed: WindowedSet, fp32: Embedder, shipped: Embedder) -> dict[str, Any]:
    results = [agreement(fp32, shipped, windowed.recordings, seed) for seed in range(N_DRAWS)]
    n_windows = sum(result.n_windows for result in results)
    return {
        "set": windowed.labelled.name,
        "n_windows": n_windows,
        "n_recognised": sum(result.n_recognised for result in results),
        "alike": sum(result.n_alike for result in results) / n_windows,
    }


def _speed(fp32: Embedder, shipped: Embedder, clips: FloatArray) -> dict[str, Any]:
    clip = clips[:1]
    timings = race({"fp32": lambda: fp32.embed_heads(clip), "file": lambda: shipped.embed_heads(clip)})
    return {name: dataclasses.asdict(timing) for name, timing in timings.items()}


def _machine() -> dict[str, str]:
    return {"architecture": platform.machine(), "onnxruntime": ort.__version__, "python": platform.python_version()}


def _verdict(report: dict[str, Any]) -> dict[str, Any]:
    """The figures that the file is judged by."""
    heads = list(report["heads"])
    verdict: dict[str, Any] = {
        "least_mean_cosine": min(report["cosine"][head]["fp32 to file"]["mean"] for head in heads),
        "least_torch_cosine": min(report["cosine"][head]["torch to fp32"]["worst"] for head in heads),
    }
    if "few_shot" in report:
        for name, rows in (
            ("largest_few_shot_drop", report["few_shot"]),
            ("largest_few_shot_drop_all_heads", [row for row in report["few_shot"] if row["head"] == ALL_HEADS]),
        ):
            verdict[name] = max((row["fp32"] - row["file"] for row in rows), default=None)
        verdict["least_agreement"] = min(row["alike"] for row in report["decisions"])
    return verdict
