"""The whole network as an ONNX graph, in float or with quantised activations and weights (QDQ).

The graph is the same in both precisions; with scales, each activation passes through a pair of QuantizeLinear and
DequantizeLinear and each weight comes out of a DequantizeLinear, which onnxruntime fuses into integer kernels.

Shapes: B clips, C and D channels, F bands, T frames, E outputs of a head.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from export.graph.folding import FoldedBlock, FoldedBranch, FoldedConv, FoldedHead, FoldedNetwork
from export.graph.frontend_graph import AUDIBLE, write_frontend
from export.graph.graph_writer import GraphWriter
from export.graph.kernel_storage import write_kernel
from export.graph.spectrum import SPECTRUM, write_statistics
from export.quantise.quantisation import ActivationScale, RoundedKernel
from train.config import FrontendConfig

_LEAST_LENGTH = 1e-6
"""An embedding's length is taken to be at least this when it is brought to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """What of a network is computed in integers."""

    activations: Mapping[str, ActivationScale]
    """For each activation its scale; one that is not named stays float."""
    float_convs: frozenset[str] = frozenset()
    """Names of convolutions whose weights stay float, or what they start with (``invariant.layer4``)."""
    kernels: Mapping[str, RoundedKernel] = field(default_factory=dict)
    """For convolutions how their weights are rounded; to the nearest step where this says nothing."""
    bias_shifts: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """For convolutions (D,) what is added to the bias."""

    def keeps_float(self, conv: str) -> bool:
        """Whether a convolution's weights stay float."""
        return any(conv == name or conv.startswith(f"{name}.") for name in self.float_convs)


@dataclass(slots=True)
class NetworkWriter:
    """Writes one network."""

    network: FoldedNetwork
    quantisation: Quantisation | None = None
    share_weights: bool = True
    """Whether kernels that tasks have in common are stored once."""
    activations: dict[str, str] = field(default_factory=dict)
    """What a quantised network rounds: for each activation the value in the graph, filled in while writing."""
    inputs: dict[str, str] = field(default_factory=dict)
    """For each convolution the value that it gets, filled in while writing."""
    _writer: GraphWriter = field(default_factory=GraphWriter)
    _shortcuts: dict[tuple[str, str], str] = field(default_factory=dict)
    _sites: dict[str, list[FoldedConv]] = field(default_factory=dict)

    def write(
        self, cfg: FrontendConfig, clip_samples: int, offsets: Mapping[str, NDArray[np.float64]] | None
    ) -> onnx.ModelProto:
        """Write the graph.

        Args:
            cfg: The front-end.
            clip_samples: Samples of a clip.
            offsets: For each head (E,) what is subtracted before the embedding is brought to length 1, or to 0 for
                silence; None leaves the embeddings as the last layer gives them.

        Returns:
            The model, with an output for each head.
        """
        self._find_sites()
        spectrogram = write_frontend(self._writer, "waveform", cfg, clip_samples)
        x = self._stem(spectrogram)
        for block in self.network.shared:
            x = self._block(x, block, block.name)
        pooled = {branch.name: self._branch(x, branch) for branch in self.network.branches}
        if any(head.branch == SPECTRUM for head in self.network.heads):
            n_frames = cfg.n_frames(clip_samples)
            pooled[SPECTRUM] = write_statistics(self._writer, spectrogram, cfg.n_mels, n_frames)
        for head in self.network.heads:
            self._head(pooled[head.branch], head, None if offsets is None else offsets[head.name])
        return self._writer.model(
            clip_samples=clip_samples, outputs=[(head.name, len(head.bias)) for head in self.network.heads]
        )

    def _find_sites(self) -> None:
        """Group the convolutions of different tasks that share a kernel."""
        for name, conv in self._all_convs():
            self._sites.setdefault(conv.name if self.share_weights else name, []).append(conv)

    def _all_convs(self) -> list[tuple[str, FoldedConv]]:
        blocks = [(block, block.name) for block in self.network.shared]
        blocks += [(b, f"{branch.name}.{b.name}") for branch in self.network.branches for b in branch.blocks]
        convs = [("stem", self.network.stem)]
        for block, name in blocks:
            convs += [(f"{name}.conv1", block.conv1), (f"{name}.conv2", block.conv2)]
            convs += [(f"{name}.downsample", block.downsample)] if block.downsample else []
        return convs

    def _stem(self, x: str) -> str:
        """(B, 1, M, T) to (B, C, M / 4, T / 4), in float: with one channel, bytes are slower.

        The bias is added behind the pooling, where there is a quarter of the values: the largest of some sums with the
        same bias is the largest value plus that bias. It also keeps onnxruntime from pooling bytes, which is slow.
        """
        stem = self.network.stem
        x = self._writer.node(
            "Conv",
            [x, self._float("stem.weight", stem.weight)],
            "stem.conv",
            kernel_shape=list(stem.kernel.shape[2:]),
            strides=[stem.stride] * 2,
            pads=[stem.padding] * 4,
        )
        x = self._writer.node("MaxPool", [x], "stem.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        x = self._writer.node("Add", [x, self._float("stem.bias", stem.bias[:, None, None])], "stem.shifted")
        x = self._rounded(x, "stem", relu=True)
        if self.quantisation is None or self.quantisation.activations.get("stem") is None:
            return x
        # A convolution that changes nothing, not even the bytes, but whose output has onnxruntime's layout for
        # integers: without it every sum with a shortcut is turned there and back (a fifth of the time).
        n = len(stem.bias)
        one = FoldedConv("stem.same", np.eye(n)[:, :, None, None], np.ones(n), np.zeros(n), 1, 0)
        return self._conv(x, one, "stem.same", relu=True)

    def _branch(self, x: str, branch: FoldedBranch) -> str:
        """(B, C, F, T) to pooled features (B, D)."""
        for block in branch.blocks:
            x = self._block(x, block, f"{branch.name}.{block.name}")
        if branch.end is not None:
            gain, bias = (
                self._float(f"{branch.name}.end.{what}", values[:, None, None])
                for what, values in zip(("gain", "bias"), branch.end, strict=True)
            )
            x = self._writer.node("Mul", [x, gain], f"{branch.name}.end.scaled")
            x = self._writer.node("Add", [x, bias], f"{branch.name}.end.shifted")
            x = self._writer.node("Relu", [x], f"{branch.name}.end")
        return self._writer.node("ReduceMean", [x], f"{branch.name}.pooled", axes=[2, 3], keepdims=0)

    def _head(self, pooled: str, head: FoldedHead, offset: NDArray[np.float64] | None) -> None:
        """(B, D) to the embedding (B, E); its mean over the corpus is taken out of the bias.

        Silence has no direction: its embedding is zero, so that it counts for nothing in a mean over windows.
        """
        weight = self._float(f"{head.name}.weight", head.weight.T)
        bias = self._float(f"{head.name}.bias", head.bias if offset is None else head.bias - offset)
        if offset is None:
            self._writer.node("Gemm", [pooled, weight, bias], head.name)
            return
        raw = self._writer.node("Gemm", [pooled, weight, bias], f"{head.name}.centred")
        length = self._writer.node("ReduceL2", [raw], f"{head.name}.length", axes=[1], keepdims=1)
        least = self._writer.constant("least_length", np.float32(_LEAST_LENGTH))
        divisor = self._writer.node("Max", [length, least], f"{head.name}.divisor")
        unit = self._writer.node("Div", [raw, divisor], f"{head.name}.unit")
        self._writer.node("Mul", [unit, AUDIBLE], head.name)

    def _block(self, x: str, block: FoldedBlock, name: str) -> str:
        y = self._conv(x, block.conv1, f"{name}.conv1", relu=True)
        y = self._conv(y, block.conv2, f"{name}.conv2", relu=False)
        total = self._writer.node("Add", [y, self._shortcut(x, block, name)], f"{name}.sum")
        return self._rounded(total, name, relu=True)

    def _shortcut(self, x: str, block: FoldedBlock, name: str) -> str:
        """(B, C, F, T) to (B, D, F / stride, T / stride)."""
        if block.downsample is not None:
            return self._conv(x, block.downsample, f"{name}.downsample", relu=False)
        if block.stride == 1 and not block.n_new:
            return x
        if (x, block.name) not in self._shortcuts:  # branches that start from the same x have it in common
            size = [block.stride, block.stride]
            pooled = self._writer.node(
                "AveragePool", [x], f"{name}.pool", kernel_shape=size, strides=size, ceil_mode=1, count_include_pad=0
            )
            self._shortcuts[x, block.name] = self._rounded(pooled, f"{name}.shortcut", n_new=block.n_new)
        return self._shortcuts[x, block.name]

    def _conv(self, x: str, conv: FoldedConv, name: str, *, relu: bool) -> str:
        self.inputs[name] = x
        weight, bias = self._weights(x, conv, name)
        y = self._writer.node(
            "Conv",
            [x, weight, bias],
            f"{name}.conv",
            kernel_shape=list(conv.kernel.shape[2:]),
            strides=[conv.stride, conv.stride],
            pads=[conv.padding] * 4,
        )
        return self._rounded(y, name, relu=relu)

    def _weights(self, x: str, conv: FoldedConv, name: str) -> tuple[str, str]:
        """Weight and bias of a convolution of the value x."""
        scales = self.quantisation
        source = x.removesuffix(".dequantised")
        if scales is None or scales.keeps_float(name) or scales.activations.get(source) is None:
            return self._float(f"{name}.weight", conv.weight), self._float(f"{name}.bias", conv.bias)
        site = self._sites.get(conv.name if self.share_weights else name, [conv])
        steps, kernel_scale = write_kernel(self._writer, conv, name, site, scales.kernels.get(name))
        scale = np.maximum(kernel_scale * np.abs(conv.gain), 1e-12).astype(np.float32)
        weight = self._dequantised(f"{name}.weight", steps, scale)
        bias_scale = scale * np.float32(scales.activations[source].scale)
        bias_values = (conv.bias + scales.bias_shifts.get(name, 0.0)) / bias_scale
        bias_steps = np.clip(np.rint(bias_values), -(2.0**31) + 1, 2.0**31 - 1).astype(np.int32)
        bias = self._dequantised(f"{name}.bias", self._writer.constant(f"{name}.bias.steps", bias_steps), bias_scale)
        return weight, bias

    def _dequantised(self, name: str, steps: str, scale: NDArray[np.float32]) -> str:
        scales = self._writer.constant(f"{name}.scale", scale)
        zero = np.zeros(len(scale), np.int32 if name.endswith("bias") else np.int8)
        zeros = self._writer.constant(f"{name}.zero_point", zero)
        return self._writer.node("DequantizeLinear", [steps, scales, zeros], name, axis=0)

    def _rounded(self, x: str, name: str, *, relu: bool = False, n_new: int = 0) -> str:
        """The value x, cut off at zero if asked for, rounded to 8 bits where the quantisation says so.

        Args:
            x: (B, C, ...).
            name: Of the activation.
            relu: Whether to cut off negative values.
            n_new: Channels of zeros that are added.
        """
        chosen = None if self.quantisation is None else self.quantisation.activations.get(name)
        if relu and (chosen is None or chosen.zero_point != 0):  # bytes from 0 on are cut off as they are
            x = self._writer.node("Relu", [x], f"{name}.relu")
        self.activations[name] = x
        if chosen is None:
            return self._widened(x, n_new, f"{name}.widened")
        scale = self._writer.constant(f"{name}.scale", np.float32(chosen.scale))
        zero_point = self._writer.constant(f"{name}.zero_point", np.uint8(chosen.zero_point))
        steps = self._writer.node("QuantizeLinear", [x, scale, zero_point], f"{name}.quantised")
        steps = self._widened(steps, n_new, f"{name}.widened", zero_point)  # in bytes: so it is no float island
        return self._writer.node("DequantizeLinear", [steps, scale, zero_point], f"{name}.dequantised")

    def _widened(self, x: str, n_new: int, name: str, *zero: str) -> str:
        """(B, C, F, T) to (B, C + n_new, F, T)."""
        if not n_new:
            return x
        ends = self._writer.constant(f"new_channels.{n_new}", np.array([0, 0, 0, 0, 0, n_new, 0, 0]))
        return self._writer.node("Pad", [x, ends, *zero], name)

    def _float(self, name: str, values: NDArray[np.float64]) -> str:
        return self._writer.constant(name, values.astype(np.float32))
