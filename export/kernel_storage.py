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

from export.folding import FoldedConv
from export.graph_writer import GraphWriter
from export.quantisation import quantise_kernel

_CENTRE = 4
"""Of the nine taps of a 3x3 kernel."""


def write_kernel(
    writer: GraphWriter, conv: FoldedConv, name: str, site: Sequence[FoldedConv]
) -> tuple[str, NDArray[np.float64]]:
    """Write a task's kernel in 7 bits.

    Args:
        writer: The graph.
        conv: The task's convolution.
        name: Of the convolution in the graph.
        site: The convolutions of all tasks at this place, this one included.

    Returns:
        Name of the value (D, C, k, k) int8, and the scale of each channel (D,). Channels with a negative gain are
        negated, so that the scale that the gain is multiplied into can stay positive.
    """
    common = _common(site)
    own = [conv] if common == "nothing" else site
    largest = np.max([np.abs(other.kernel).max(axis=(1, 2, 3)) for other in own], axis=0)
    steps, scale = quantise_kernel(conv.kernel, largest)
    sign, first = _sign(conv), _sign(own[0])
    steps = steps * first[:, None, None, None]
    if common == "nothing":
        return writer.constant(f"{name}.weight.steps", steps), scale
    if common == "all":
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


def _common(site: Sequence[FoldedConv]) -> str:
    """Which taps the kernels of a site have in common: ``all``, all but the ``centre``, or ``nothing``."""
    if len(site) < 2:
        return "nothing"
    if all(np.array_equal(site[0].kernel, other.kernel) for other in site[1:]):
        return "all"
    if site[0].kernel.shape[2:] != (3, 3):
        return "nothing"
    outer = [np.delete(conv.kernel.reshape(*conv.kernel.shape[:2], 9), _CENTRE, axis=2) for conv in site]
    return "centre" if all(np.array_equal(outer[0], other) for other in outer[1:]) else "nothing"


def _sign(conv: FoldedConv) -> NDArray[np.int8]:
    """(D,) -1 where the gain is negative, else 1."""
    return np.where(conv.gain < 0, -1, 1).astype(np.int8)
