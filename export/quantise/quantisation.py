"""Eight-bit numbers for activations and weights, chosen so that every processor computes the same integers.

Activations are unsigned bytes with one scale a tensor. Weights are signed with one scale an output channel and only
seven bits (-63 to 63): without VNNI, x86 adds two products of a byte and a weight in a signed 16-bit register that
saturates at 32,767, which 2 * 255 * 127 overruns and 2 * 255 * 63 does not. So the sums are exact with VNNI, without
it, and on ARM.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray, Int8Array

WEIGHT_MAX = 63
"""Largest absolute value of a weight: 7 bits, symmetric."""
_N_BINS = 4096
_CLIPPED = np.linspace(0.3, 1.0, 141)
"""Shares of the observed range that are tried as the representable one."""


@dataclass(frozen=True, slots=True)
class ActivationScale:
    """``value = scale * (byte - zero_point)``."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class RoundedKernel:
    """``kernel = scale * steps``."""

    steps: Int8Array
    """(D, C, k, k), at most :data:`WEIGHT_MAX`."""
    scale: NDArray[np.float64]
    """(D,), positive."""


def quantise_kernel(kernel: NDArray[np.float64], scale: NDArray[np.float64]) -> Int8Array:
    """Round each weight of a kernel (D, ...) to the nearest step of its channel's scale (D,), in 7 bits."""
    steps = np.rint(kernel / scale.reshape(-1, *[1] * (kernel.ndim - 1)))
    return np.clip(steps, -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)


def choose_scales(
    run: Callable[[FloatArray], Sequence[NDArray[np.float32]]], names: Sequence[str], batches: Iterable[FloatArray]
) -> dict[str, ActivationScale]:
    """Choose each tensor's scale: the range that gives the least squared error over calibration clips.

    Args:
        run: A batch of waveforms (n, clip_samples) float32 to the values of ``names``.
        names: Of the tensors.
        batches: Clips; gone through twice.

    Returns:
        For each name its scale. Tensors without negative values get zero point 0.
    """
    batches = list(batches)
    low, high = np.zeros(len(names)), np.full(len(names), 1e-6)
    for batch in batches:
        for i, values in enumerate(run(batch)):
            low[i], high[i] = min(low[i], float(values.min())), max(high[i], float(values.max()))
    counts = np.zeros((len(names), _N_BINS))
    for batch in batches:
        for i, values in enumerate(run(batch)):
            counts[i] += np.histogram(values, _N_BINS, (low[i], high[i]))[0]
    return {name: _best_scale(counts[i], low[i], high[i]) for i, name in enumerate(names)}


def _best_scale(counts: NDArray[np.float64], low: float, high: float) -> ActivationScale:
    edges = np.linspace(low, high, _N_BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    best, least = ActivationScale(1.0, 0), np.inf
    for share in _CLIPPED:
        scale = (high - low) * share / 255
        zero_point = round(-low * share / scale)
        steps = np.clip(np.rint(centres / scale) + zero_point, 0, 255)
        error = float(counts @ np.square((steps - zero_point) * scale - centres))
        if error < least:
            best, least = ActivationScale(float(np.float32(scale)), zero_point), error
    return best
