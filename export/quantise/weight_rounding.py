"""Weights rounded so that a convolution's output changes least on clips of the corpus, not each to its nearest step.

Frantar et al. 2023, GPTQ (arXiv:2210.17323): weights are rounded one after the other, and those still to come make up
for the error of each as well as they can, given how the inputs go together. What remains on average is taken off the
bias (Nagel et al. 2019, arXiv:1906.04721, section 4.2). Both cost nothing when the network runs. A convolution is
rounded for the inputs that the layers before it give once they are rounded themselves.

Kernels of several tasks may have taps in common, which are stored once and so must be rounded alike. They come first,
for the sum of the tasks' errors; each task's own taps then make up for what is left in that task.

Shapes: D channels out, K = C k k weights of a channel, N places in spectrograms of clips.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from export.graph.folding import FoldedConv, FoldedNetwork
from export.graph.graph_writer import subgraph
from export.graph.kernel_storage import common_taps, kernel_scale
from export.graph.network_graph import NetworkWriter, Quantisation
from export.quantise.quantisation import WEIGHT_MAX, RoundedKernel
from export.runtime import BATCH, open_session
from train.config import FrontendConfig

_log = logging.getLogger(__name__)

_PLACES = 32
"""Places drawn of each clip."""
_DAMPING = 0.01
"""Share of the mean that is added to the diagonal, as in the paper."""
_BLOCK = 128
"""Weights after which the others are brought up to date: for speed, as in the paper."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a convolution gets to see, in the order of its weights."""

    products: Array
    """(K, K) mean products of pairs."""
    mean: Array
    """(K,)."""


def round_weights(
    network: FoldedNetwork, scales: Quantisation, cfg: FrontendConfig, clips: FloatArray, rng: np.random.Generator
) -> Quantisation:
    """Round the weights of all convolutions behind the stem.

    Args:
        network: Folded.
        scales: Of the activations.
        cfg: The front-end.
        clips: (n, clip_samples) float32 of the corpus.
        rng: For the choice of places.

    Returns:
        The same scales, with kernels and shifts of biases.
    """
    order = convs_in_order(network)
    exact = _output_means(network, cfg, clips, [name for convs in order for name in convs])
    result = scales
    for convs in order:
        rounded = {name: conv for name, conv in convs.items() if not scales.keeps_float(name)}
        inputs = _inputs(network, result, cfg, clips, rounded, rng)
        kernels, shifts = dict(result.kernels), dict(result.bias_shifts)
        for site in _sites(rounded):
            steps = round_site([rounded[name] for name in site], [inputs[name].products for name in site])
            scale = kernel_scale([rounded[name] for name in site])
            for name, kernel in zip(site, steps, strict=True):
                kernels[name] = RoundedKernel(kernel.astype(np.int8), scale)
                weights = kernel.reshape(len(scale), -1) * (scale * rounded[name].gain)[:, None]
                shifts[name] = exact[name] - (weights @ inputs[name].mean + rounded[name].bias)
        result = replace(result, kernels=kernels, bias_shifts=shifts)
        _log.info("rounded %s", ", ".join(rounded) or "nothing")
    return result


def convs_in_order(network: FoldedNetwork) -> list[dict[str, FoldedConv]]:
    """The convolutions behind the stem by name, those together that do not depend on each other."""
    order: list[dict[str, FoldedConv]] = []
    levels = [[(block.name, block)] for block in network.shared]
    depth = max((len(branch.blocks) for branch in network.branches), default=0)
    levels += [[(f"{b.name}.{b.blocks[i].name}", b.blocks[i]) for b in network.branches] for i in range(depth)]
    for blocks in levels:
        first = {f"{name}.conv1": block.conv1 for name, block in blocks}
        first |= {f"{name}.downsample": block.downsample for name, block in blocks if block.downsample}
        order += [first, {f"{name}.conv2": block.conv2 for name, block in blocks}]
    return order


def round_site(site: Sequence[FoldedConv], products: Sequence[Array]) -> list[Array]:
    """Round the kernels of all tasks at one place.

    Args:
        site: The convolutions.
        products: For each (K, K) mean products of pairs of inputs.

    Returns:
        For each kernel (D, C, k, k) whole numbers of at most :data:`export.quantise.quantisation.WEIGHT_MAX`.
    """
    scale = kernel_scale(site)
    shape = site[0].kernel.shape
    common = np.broadcast_to(common_taps(site), shape[1:]).ravel()  # (K,) whether all tasks have this weight in common
    targets = [conv.kernel.reshape(len(scale), -1) / scale[:, None] for conv in site]
    damped = [_damped(matrix / max(float(np.trace(matrix)), 1e-12)) for matrix in products]
    steps = [np.zeros_like(target) for target in targets]
    if common.any():
        remaining = sum((_without(matrix, common) for matrix in damped), np.zeros((common.sum(),) * 2))
        alike = _round(targets[0][:, common], remaining)
        for kernel in steps:
            kernel[:, common] = alike
    own = ~common
    if own.any():
        for kernel, target, matrix in zip(steps, targets, damped, strict=True):
            inner = matrix[np.ix_(own, own)]
            error = target[:, common] - kernel[:, common]
            made_up = np.linalg.solve(inner, matrix[np.ix_(own, common)] @ error.T).T
            kernel[:, own] = _round(target[:, own] + made_up, inner)
    return [kernel.reshape(shape) for kernel in steps]


def _damped(products: Array) -> Array:
    return products + np.eye(len(products)) * max(_DAMPING * float(np.diag(products).mean()), 1e-12)


def _without(products: Array, kept: NDArray[np.bool_]) -> Array:
    """What an error in the kept weights costs when the others make up for it (Schur complement)."""
    own = ~kept
    if not own.any():
        return products
    cross = products[np.ix_(own, kept)]
    return products[np.ix_(kept, kept)] - cross.T @ np.linalg.solve(products[np.ix_(own, own)], cross)


def _round(target: Array, products: Array) -> Array:
    """Round (D, K) steps, given the (K, K) products of their inputs, those with the strongest inputs first."""
    order = np.argsort(-np.diag(products), kind="stable")
    left = target[:, order].copy()
    inverse = np.linalg.inv(products[np.ix_(order, order)])
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    steps = np.zeros_like(left)
    for start in range(0, left.shape[1], _BLOCK):
        stop = min(start + _BLOCK, left.shape[1])
        errors = np.zeros((len(left), stop - start))
        for k in range(start, stop):
            steps[:, k] = np.clip(np.rint(left[:, k]), -WEIGHT_MAX, WEIGHT_MAX)
            errors[:, k - start] = (left[:, k] - steps[:, k]) / upper[k, k]
            left[:, k + 1 : stop] -= np.outer(errors[:, k - start], upper[k, k + 1 : stop])
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    result = np.zeros_like(steps)
    result[:, order] = steps
    return result


def _sites(convs: dict[str, FoldedConv]) -> list[list[str]]:
    """Names of convolutions whose kernels have taps in common, together; the others each on its own."""
    places: dict[str, list[str]] = {}
    for name, conv in convs.items():
        places.setdefault(conv.name, []).append(name)
    sites: list[list[str]] = []
    for names in places.values():
        together = common_taps([convs[name] for name in names]).any()
        sites += [names] if together else [[name] for name in names]
    return sites


def _inputs(
    network: FoldedNetwork,
    quantisation: Quantisation,
    cfg: FrontendConfig,
    clips: FloatArray,
    convs: dict[str, FoldedConv],
    rng: np.random.Generator,
) -> dict[str, Inputs]:
    """Measure the inputs of some convolutions in a network that is rounded before them."""
    writer = NetworkWriter(network, quantisation)
    model = writer.write(cfg, clips.shape[1], None)
    values = sorted({writer.inputs[name] for name in convs})
    session = open_session(subgraph(model, values).SerializeToString())
    drawn: dict[str, list[FloatArray]] = {name: [] for name in convs}
    sums = {name: np.zeros(conv.kernel[0].size) for name, conv in convs.items()}
    n_places = 0
    for start in range(0, len(clips), BATCH):
        batch = dict(zip(values, session.run(values, {"waveform": clips[start : start + BATCH]}), strict=True))
        for name, conv in convs.items():
            patches = _patches(batch[writer.inputs[name]], conv)  # (B, places, K)
            sums[name] += patches.mean(axis=1, dtype=np.float64).sum(axis=0)
            places = rng.permutation(patches.shape[1])[:_PLACES]
            drawn[name].append(patches[:, places].reshape(-1, patches.shape[2]))
        n_places += len(clips[start : start + BATCH])
    result = {}
    for name, parts in drawn.items():
        rows = np.concatenate(parts)  # (N, K)
        result[name] = Inputs((rows.T @ rows).astype(np.float64) / len(rows), sums[name] / n_places)
    return result


def _patches(x: FloatArray, conv: FoldedConv) -> FloatArray:
    """What a convolution's kernel is multiplied with at each place: (B, C, F, T) to (B, places, K)."""
    k = conv.kernel.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (conv.padding,) * 2, (conv.padding,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))
    windows = windows[:, :, :: conv.stride, :: conv.stride]  # (B, C, F', T', k, k)
    return np.ascontiguousarray(windows.transpose(0, 2, 3, 1, 4, 5)).reshape(len(x), -1, conv.kernel[0].size)


def _output_means(
    network: FoldedNetwork, cfg: FrontendConfig, clips: FloatArray, names: Sequence[str]
) -> dict[str, Array]:
    """Mean of each convolution's output over clips, bands and frames, in float: (D,)."""
    values = [f"{name}.conv" for name in names]
    model = NetworkWriter(network).write(cfg, clips.shape[1], None)
    session = open_session(subgraph(model, values).SerializeToString())
    sums: dict[str, Array] = {}
    for start in range(0, len(clips), BATCH):
        for name, value in zip(names, session.run(values, {"waveform": clips[start : start + BATCH]}), strict=True):
            sums[name] = sums.get(name, 0.0) + value.mean(axis=(2, 3), dtype=np.float64).sum(axis=0)
    return {name: total / len(clips) for name, total in sums.items()}
