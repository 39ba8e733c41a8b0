"""How fast and how large a model file is, beside fp32 and beside another network, in one run on one thread."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from device_app.model.embedder import Embedder, load_embedder
from device_app.model.model_file import ModelMetadata
from device_app.model.onnx_bytes import keep_outputs
from export.bench.stopwatch import Timing, race
from export.bench.storage_bench import random_network, storage_bench
from export.errors import ExportError
from export.graph.edge_layers import edge_layer_bench
from export.graph.network_graph import NetworkWriter
from export.proof.parity_table import table
from export.runtime import open_session
from train.config import INVARIANT, SENSITIVE

_LOAD = """
import json, os, sys, time
def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
start = time.perf_counter()
import numpy
from pathlib import Path
from device_app.model.embedder import load_embedder
import onnxruntime
imported, before = time.perf_counter(), memory()
embedder = load_embedder(Path(sys.argv[1]), sys.argv[2].split(",") if sys.argv[2] else None)
loaded = time.perf_counter()
embedder.embed(numpy.zeros((1, embedder.metadata.clip_samples), numpy.float32))
print(json.dumps({"import_s": imported - start, "load_s": loaded - imported,
                  "first_s": time.perf_counter() - loaded, "memory_mb": memory() - before}))
"""
"""A device's start, in a process of its own."""


def bench_model(model: Path, other: Path | None) -> dict[str, Any]:
    """Time a model file.

    Args:
        model: Made by ``python -m export``, int8.
        other: An ONNX network with waveforms (batch, samples) of 16 kHz in, to compare with.

    Returns:
        Times in milliseconds for one second of audio, sizes, and what a start costs.

    Raises:
        ExportError: If the other network is missing.
    """
    whole = load_embedder(model)
    pair = [name for name in (INVARIANT, SENSITIVE) if name in whole.heads] or list(whole.heads[:2])
    n_samples = whole.metadata.sample_rate
    clip = (whole.golden.waveform.astype(np.float32) / 32768.0)[None]
    with tempfile.TemporaryDirectory() as folder:
        fp32 = Path(folder) / "fp32.onnx"
        fp32.write_bytes(fp32_twin(whole.metadata))
        both, one = load_embedder(model, pair), load_embedder(model, pair[:1])
        programs: dict[str, Callable[[], object]] = {
            f"file, all heads ({len(whole.heads)})": _embedding(whole, clip),
            f"file, {' and '.join(pair)}": _embedding(both, clip),
            f"file, {pair[0]}": _embedding(one, clip),
            f"fp32, all heads ({len(whole.heads)})": _running(fp32.read_bytes(), clip),
            f"fp32, {' and '.join(pair)}": _running(keep_outputs(fp32.read_bytes(), pair), clip),
        }
        size = {"file": model.stat().st_size, "fp32": fp32.stat().st_size}
    if other is not None:
        if not other.is_file():
            raise ExportError(f"there is no network {other} to compare with: leave out --against, or fetch it")
        second = np.resize(clip[0], (1, 16_000))
        programs[f"{other.stem}, 1 s at 16 kHz"] = _running(other.read_bytes(), second)
        size[other.stem] = other.stat().st_size
    times = race(programs)
    seconds = whole.metadata.clip_samples / n_samples
    return {
        "model_id": whole.metadata.model_id,
        "clip_s": seconds,
        "times": {name: asdict(Timing(t.median_ms / seconds, t.fastest_ms / seconds)) for name, t in times.items()},
        "bytes": size,
        "ratios": {
            name: {
                what: getattr(times[f"fp32, {name}"], what) / getattr(times[f"file, {name}"], what)
                for what in ("median_ms", "fastest_ms")
            }
            for name in (f"all heads ({len(whole.heads)})", " and ".join(pair))
        },
        "edge_layers": {
            name: asdict(Timing(t.median_ms / seconds, t.fastest_ms / seconds))
            for name, t in edge_layer_bench(whole.metadata).items()
        },
        "storage": storage_bench(whole.metadata, pair, clip),
        "start, all heads": _start(model, ""),
        f"start, {pair[0]}": _start(model, pair[0]),
    }


def fp32_twin(metadata: ModelMetadata) -> bytes:
    """A network of the same shape in fp32, serialised; its weights are random, on which its speed does not depend."""
    network, frontend = random_network(metadata)
    offsets = {head.name: np.zeros(len(head.bias)) for head in network.heads}
    return NetworkWriter(network).write(frontend, metadata.clip_samples, offsets).SerializeToString()


def _embedding(embedder: Embedder, clip: Any) -> Callable[[], object]:
    return lambda: embedder.embed_heads(clip)


def _running(model: bytes, clip: Any) -> Callable[[], object]:
    session = open_session(model)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: clip})


def _start(model: Path, heads: str) -> dict[str, float]:
    """Seconds and megabytes of a device's start, the median of three."""
    runs = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", _LOAD, str(model.resolve()), heads],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        runs.append(json.loads(done.stdout))
    return {name: float(np.median([run[name] for run in runs])) for name in runs[0]}


def bench_markdown(result: dict[str, Any]) -> str:
    """The result for people."""
    first = next(iter(result["times"].values()))["median_ms"]
    rows = [
        [name, f"{t['median_ms']:.2f}", f"{t['fastest_ms']:.2f}", f"{t['median_ms'] / first:.2f}"]
        for name, t in result["times"].items()
    ]
    starts = [
        [
            name,
            *(f"{1e3 * result[name][what]:.0f}" for what in ("import_s", "load_s", "first_s")),
            f"{result[name]['memory_mb']:.0f}",
        ]
        for name in result
        if name.startswith("start")
    ]
    return "\n".join(
        [
            table(["one second of audio, one thread", "median ms", "fastest ms", "times the first"], rows),
            table(["", "imports ms", "load ms", "first clip ms", "memory MB"], starts),
            table(
                ["fp32 over the file, the same heads", "of medians", "of fastest"],
                [[name, f"{r['median_ms']:.2f}", f"{r['fastest_ms']:.2f}"] for name, r in result["ratios"].items()],
            ),
            table(
                ["the layers that stay float", "median ms", "fastest ms"],
                [
                    [name, f"{t['median_ms']:.3f}", f"{t['fastest_ms']:.3f}"]
                    for name, t in result["edge_layers"].items()
                ],
            ),
            table(
                ["how the two heads' weights are kept (int8, random)", "MB", "load ms", "median ms", "fastest ms"],
                [
                    [
                        name,
                        f"{r['bytes'] / 1e6:.2f}",
                        f"{r['load_ms']:.0f}",
                        f"{r['median_ms']:.2f}",
                        f"{r['fastest_ms']:.2f}",
                    ]
                    for name, r in result["storage"].items()
                ],
            ),
            table(["", "MB"], [[name, f"{size / 1e6:.1f}"] for name, size in result["bytes"].items()]),
        ]
    )
