"""A trained backbone as the plain convolutions that it is at inference: batch norms and adapters folded into weights.

Everything a task adds to a shared 3x3 convolution W is linear once the batch norms have stopped learning:

    batch norm            y -> g * y + b               with g = gamma / sqrt(var + eps), b = beta - mean * g
    parallel adapter      W * x + P * x = (W + P in the centre tap) * x
    series adapter        y + A (h * y + k) = (I + A diag(h)) y + A k

so that a site is one convolution ``gain * (kernel * x) + bias``. ``gain`` is kept apart from ``kernel`` because kernels
of several tasks agree outside the centre tap (parallel) or everywhere (bn), which is what lets a file store them once.

Shapes: C and D channels in and out, E outputs of a head.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from train.network.adapters import ConvSite
from train.network.backbone import Backbone, BasicBlock

Array = NDArray[np.float64]

TRUNK = "trunk"
"""Name of the only branch of a network whose tasks share everything but their last layer."""


@dataclass(frozen=True, slots=True)
class FoldedConv:
    """A convolution with bias; its weight is ``kernel`` times the gain of each output channel."""

    name: str
    """Of the site: the same for all tasks."""
    kernel: Array
    """(D, C, k, k)."""
    gain: Array
    """(D,)."""
    bias: Array
    """(D,)."""
    stride: int
    padding: int

    @property
    def weight(self) -> Array:
        """(D, C, k, k)."""
        return self.kernel * self.gain[:, None, None, None]


@dataclass(frozen=True, slots=True)
class FoldedBlock:
    """``relu(conv2(relu(conv1(x))) + shortcut(x))``."""

    name: str
    conv1: FoldedConv
    conv2: FoldedConv
    downsample: FoldedConv | None
    """Of the shortcut. None: average pooling over ``stride`` cells, and zeros for the ``n_new`` channels x lacks."""
    stride: int
    n_new: int


@dataclass(frozen=True, slots=True)
class FoldedBranch:
    """What one or several heads compute after the stages that all share."""

    name: str
    blocks: tuple[FoldedBlock, ...]
    end: tuple[Array, Array] | None
    """Gain and bias (D,) of the batch norm before pooling, which follows a sum and so cannot be folded."""


@dataclass(frozen=True, slots=True)
class FoldedHead:
    """One output: a linear map of a branch's pooled features."""

    name: str
    branch: str
    weight: Array
    """(E, D)."""
    bias: Array
    """(E,)."""


@dataclass(frozen=True, slots=True)
class FoldedNetwork:
    """All of it, from the front-end's spectrogram to the heads."""

    stem: FoldedConv
    shared: tuple[FoldedBlock, ...]
    branches: tuple[FoldedBranch, ...]
    heads: tuple[FoldedHead, ...]


def fold(backbone: Backbone) -> FoldedNetwork:
    """Fold a backbone as it stands in evaluation mode."""
    stem = _fold_norm("stem", _weight(backbone.stem_conv), backbone.stem_norm, stride=2, padding=3)
    layers = (backbone.layer2, backbone.layer3, backbone.layer4)

    def branch(name: str, task: int) -> FoldedBranch:
        blocks = [
            _fold_block(block, task, f"layer{number}.{i}")
            for number, layer in enumerate(layers, start=2)
            for i, block in enumerate(layer)
            if isinstance(block, BasicBlock)
        ]
        end = None if backbone.end is None else _gain_bias(backbone.end.norms[task])
        return FoldedBranch(name, tuple(blocks), end)

    shared = [
        _fold_block(block, 0, f"layer1.{i}") for i, block in enumerate(backbone.layer1) if isinstance(block, BasicBlock)
    ]
    adapted = backbone.adapted
    names = backbone.tasks if adapted else (TRUNK,)
    heads = []
    for task, name in enumerate(backbone.tasks):
        linear = backbone.heads[min(task, len(backbone.heads) - 1)]
        assert isinstance(linear, nn.Linear)
        heads.append(FoldedHead(name, names[task if adapted else 0], _array(linear.weight), _array(linear.bias)))
    return FoldedNetwork(
        stem, tuple(shared), tuple(branch(name, task) for task, name in enumerate(names)), tuple(heads)
    )


def add_linear_head(network: FoldedNetwork, name: str, base: str, linear: nn.Linear) -> FoldedNetwork:
    """A network with one more output: a linear map of another head's embedding, folded into one of pooled features."""
    head = next(head for head in network.heads if head.name == base)
    weight, bias = _array(linear.weight), _array(linear.bias)
    added = FoldedHead(name, head.branch, weight @ head.weight, weight @ head.bias + bias)
    return replace(network, heads=(*network.heads, added))


def _fold_block(block: BasicBlock, task: int, name: str) -> FoldedBlock:
    downsample = None
    if isinstance(block.downsample, nn.Sequential):
        conv, norm = block.downsample
        downsample = _fold_norm(f"{name}.downsample", _weight(conv), norm, stride=block.stride, padding=0)
    return FoldedBlock(
        name,
        _fold_site(block.site1, task, f"{name}.conv1", block.stride),
        _fold_site(block.site2, task, f"{name}.conv2", 1),
        downsample,
        block.stride,
        block.n_new,
    )


def _fold_site(site: ConvSite, task: int, name: str, stride: int) -> FoldedConv:
    kernel = _weight(site.conv)  # (D, C, 3, 3)
    shift = np.zeros(len(kernel))
    if len(site.parallel):
        kernel = kernel.copy()
        kernel[:, :, 1, 1] += _weight(site.parallel[task])[:, :, 0, 0]
    if len(site.series):
        adapter = site.series[task]
        gain, bias = _gain_bias(adapter.norm)
        mix = _weight(adapter.conv)[:, :, 0, 0]  # (D, D)
        kernel = np.einsum("de,ecij->dcij", np.eye(len(kernel)) + mix * gain[None, :], kernel)
        shift = mix @ bias
    return _fold_norm(name, kernel, site.norms[task], stride=stride, padding=1, shift=shift)


def _fold_norm(
    name: str, kernel: Array, norm: object, *, stride: int, padding: int, shift: Array | float = 0.0
) -> FoldedConv:
    gain, bias = _gain_bias(norm)
    return FoldedConv(name, kernel, gain, gain * shift + bias, stride, padding)


def _gain_bias(norm: object) -> tuple[Array, Array]:
    """What a batch norm multiplies by and adds, (D,) each."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    gain = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
    return gain, _array(norm.bias) - _array(norm.running_mean) * gain


def _weight(conv: object) -> Array:
    assert isinstance(conv, nn.Conv2d)
    return _array(conv.weight)


def _array(tensor: object) -> Array:
    return tensor.detach().cpu().double().numpy()  # type: ignore[attr-defined]
