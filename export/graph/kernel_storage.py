"""How a file stores the kernels that tasks have in common: once, at no cost to the speed.

With parallel adapters, folded kernels of different tasks differ in their centre tap alone; with adapters in the batch
norms they do not differ. Their batch norms' gains are in the scales, so that the stored integers agree too. A task's
kernel is put together by nodes whose inputs are all constant: onnxruntime runs them once, while it loads the file, and
computes with plain folded kernels from then on.

Shapes: C and D channels in and out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from export.graph.folding import FoldedConv
from export.graph.graph_writer import GraphWriter
from export.quantise.quantisation import WEIGHT_MAX, RoundedKernel, quantise_kernel

_CENTRE = 4
"""Of the nine taps of a 3x3 kernel."""


def write_kernel(
    writer: GraphWriter,
    conv: FoldedConv,
    name: str,
    site: Sequence[FoldedConv],
    rounded: RoundedKernel | None = None,
) -> tuple[str, NDArray[np.float64]]:
    """Write a task's kernel in 7 bits.

    Args:
        writer: The graph.
        conv: The task's convolution.
        name: Of the convolution in the graph.
        site: The convolutions of all tasks at this place, this one included.
        rounded: The kernel as it was rounded with the others of the site; None rounds each weight to its nearest step.

    Returns:
        Name of the value (D, C, k, k) int8, and the scale of each channel (D,). Channels with a negative gain are
        negated, so that the scale that the gain is multiplied into can stay positive.
    """
    own = site if common_taps(site).any() else [conv]
    if rounded is None:
        scale = kernel_scale(own)
        rounded = RoundedKernel(quantise_kernel(conv.kernel, scale), scale)
    sign, first = _sign(conv), _sign(own[0])
    steps, scale = rounded.steps * first[:, None, None, None], rounded.scale
    if len(own) == 1:
        return writer.constant(f"{name}.weight.steps", steps), scale
    if common_taps(own).all():
        value = writer.constant(f"{conv.name}.weight.steps", steps)
    else:
        taps = steps.reshape(*steps.shape[:2], -1)  # (D, C, 9)
        parts = [
            writer.constant(f"{conv.name}.weight.before", taps[:, :, :_CENTRE]),
            writer.constant(f"{name}.weight.centre", taps[:, :, _CENTRE : _CENTRE + 1]),
            writer.constant(f"{conv.name}.weight.after", taps[:, :, _CENTRE + 1 :]),
        ]
        joined = writer.node("Concat", parts, f"{name}.weight.taps", axis=2)
        shape = writer.constant(f"{conv.name}.weight.shape", np.array(steps.shape))
        value = writer.node("Reshape", [joined, shape], f"{name}.weight.joined")
    if (sign != first).any():
        value = _signed(writer, value, sign * first, name)
    return value, scale


def _signed(writer: GraphWriter, steps: str, sign: NDArray[np.int8], name: str) -> str:
    """Negate the channels whose gain has another sign than that of the first task, by way of int32."""
    wide = writer.node("Cast", [steps], f"{name}.weight.wide", to=TensorProto.INT32)
    signs = writer.constant(f"{name}.weight.sign", sign.astype(np.int32)[:, None, None, None])
    signed = writer.node("Mul", [wide, signs], f"{name}.weight.signed")
    return writer.node("Cast", [signed], f"{name}.weight.steps", to=TensorProto.INT8)


def common_taps(site: Sequence[FoldedConv]) -> NDArray[np.bool_]:
    """Which taps the kernels of a site have in common: (k, k), all of them, all but the centre, or none."""
    shape = site[0].kernel.shape[2:]
    if len(site) < 2:
        return np.zeros(shape, np.bool_)
    alike = np.all([(conv.kernel == site[0].kernel).all(axis=(0, 1)) for conv in site[1:]], axis=0)
    if not alike.all() and (shape != (3, 3) or np.delete(alike.ravel(), _CENTRE).sum() < _CENTRE * 2):
        return np.zeros(shape, np.bool_)  # what does not come from adapters is stored as it is
    return np.asarray(alike, np.bool_)


def kernel_scale(site: Sequence[FoldedConv]) -> NDArray[np.float64]:
    """What a step is worth in each channel of the kernels of a site, (D,): the largest weight is the last step."""
    own = site if common_taps(site).any() else site[:1]
    largest = np.max([np.abs(conv.kernel).max(axis=(1, 2, 3)) for conv in own], axis=0)
    return np.maximum(largest, 1e-12) / WEIGHT_MAX


def _sign(conv: FoldedConv) -> NDArray[np.int8]:
    """(D,) -1 where the gain is negative, else 1."""
    return np.where(conv.gain < 0, -1, 1).astype(np.int8)
