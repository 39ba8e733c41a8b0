"""Three ways to keep what heads share, side by side: each on its own, once and folded at load, once and never folded.

The weights are random and the scales made up: neither size nor speed depends on them.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from device_app.arrays import FloatArray
from device_app.model.model_file import ModelMetadata
from device_app.model.onnx_bytes import keep_outputs
from export.bench.stopwatch import race
from export.graph.folding import FoldedConv, FoldedNetwork, add_linear_head, fold
from export.graph.kernel_storage import common_taps
from export.graph.network_graph import NetworkWriter, Quantisation
from export.model_export import read_architecture
from export.quantise.quantisation import ActivationScale
from export.runtime import open_session
from train.config import DISTILLED, FrontendConfig
from train.network.backbone import Backbone

FOLDED_TWICE, STORED_ONCE, APART = "folded twice", "stored once, folded at load", "shared trunk, adapters run"


class AnyScale(Mapping[str, ActivationScale]):
    """Some scale for every activation: from 0 on behind a ReLU, of both signs elsewhere."""

    def __getitem__(self, name: str) -> ActivationScale:
        """The scale of an activation."""
        signed = name.endswith((".conv2", ".downsample", ".shared", ".adapter"))
        return ActivationScale(0.05, 128 if signed else 0)

    def __iter__(self) -> Iterator[str]:
        """No names: there is no end of them."""
        return iter(())

    def __len__(self) -> int:
        """Of what it goes through."""
        return 0


class UnfoldedWriter(NetworkWriter):
    """Writes a 3x3 convolution that tasks share and its 1x1 adapter as two convolutions and a sum."""

    def _conv(self, x: str, conv: FoldedConv, name: str, *, relu: bool) -> str:
        site = self._sites.get(conv.name, [conv])
        if conv.kernel.shape[2:] != (3, 3) or not common_taps(site).any() or common_taps(site).all():
            return super()._conv(x, conv, name, relu=relu)
        nothing = np.zeros_like(conv.bias)
        shared = replace(conv, name=f"{conv.name}.shared", kernel=site[0].kernel)
        adapter = replace(
            conv,
            name=f"{name}.adapter",
            kernel=(conv.kernel - site[0].kernel)[:, :, 1:2, 1:2],
            bias=nothing,
            padding=0,
        )
        self._sites[shared.name] = [replace(other, name=shared.name, kernel=site[0].kernel) for other in site]
        parts = [
            super()._conv(x, shared, f"{name}.shared", relu=False),
            super()._conv(x, adapter, f"{name}.adapter", relu=False),
        ]
        return self._rounded(self._writer.node("Add", parts, f"{name}.joined"), name, relu=relu)


def random_network(metadata: ModelMetadata) -> tuple[FoldedNetwork, FrontendConfig]:
    """A network of the same shape as a model file's, with random weights."""
    cfg, frontend = read_architecture(metadata)
    network = fold(Backbone(cfg, frontend.n_channels))
    for output in metadata.outputs:
        if output.name not in cfg.tasks:
            network = add_linear_head(network, output.name, DISTILLED, nn.Linear(cfg.head_dim, output.size))
    return network, frontend


def storage_bench(metadata: ModelMetadata, heads: Sequence[str], clip: FloatArray) -> dict[str, dict[str, Any]]:
    """Measure the three ways.

    Args:
        metadata: Of a model file, whose network's shape is taken.
        heads: To compute.
        clip: (1, clip_samples) float32.

    Returns:
        For each way bytes of the network with these heads alone, milliseconds to load it and to run it.
    """
    network, frontend = random_network(metadata)
    quantisation = Quantisation(activations=AnyScale())
    writers = {
        FOLDED_TWICE: NetworkWriter(network, quantisation, share_weights=False),
        STORED_ONCE: NetworkWriter(network, quantisation),
        APART: UnfoldedWriter(network, quantisation),
    }
    offsets = {head.name: np.zeros(len(head.bias)) for head in network.heads}
    graphs = {
        name: keep_outputs(writer.write(frontend, metadata.clip_samples, offsets).SerializeToString(), heads)
        for name, writer in writers.items()
    }
    sessions, result = {}, {}
    for name, graph in graphs.items():
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            sessions[name] = open_session(graph)
            seconds.append(time.perf_counter() - start)
        result[name] = {"bytes": len(graph), "load_ms": 1e3 * float(np.median(seconds))}
    times = race({name: partial(session.run, None, {"waveform": clip}) for name, session in sessions.items()})
    seconds_a_clip = metadata.clip_samples / metadata.sample_rate
    for name, timing in times.items():
        result[name] |= {
            "median_ms": timing.median_ms / seconds_a_clip,
            "fastest_ms": timing.fastest_ms / seconds_a_clip,
        }
    return result
