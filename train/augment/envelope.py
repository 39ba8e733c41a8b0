"""Augmentations that move a clip or scale its samples: fade, time mask, time shift.

Shapes: B rows, T samples. Every parameter is a (B,) tensor.
"""

import torch
from torch import Tensor

FADE_SHAPES = ("linear", "logarithmic", "exponential")
"""Index of a shape is the parameter of :func:`fade`."""


def fade(waveform: Tensor, n_in: Tensor, n_out: Tensor, shape: Tensor) -> Tensor:
    """Fade in and out, with torchaudio's ``Fade`` curves.

    Args:
        waveform: (B, T) float32.
        n_in: Samples of the fade-in.
        n_out: Samples of the fade-out; the two together at most T.
        shape: Index into ``FADE_SHAPES``, used at both ends.

    Returns:
        (B, T) float32.
    """
    n_samples = waveform.shape[1]
    time = torch.arange(n_samples, dtype=torch.float32, device=waveform.device)[None]  # (1, T)
    # Progress from 0 to 1 as linspace(0, 1, n) gives it; with no fade, 1 from the first sample on.
    rise = (time + (n_in == 0)[:, None]) / (n_in[:, None] - 1).clamp(min=1)
    fall = ((n_samples - 1 - time) + (n_out == 0)[:, None]) / (n_out[:, None] - 1).clamp(min=1)
    progress = torch.minimum(rise, fall).clamp_(0.0, 1.0)  # the two do not overlap, and their curves mirror each other
    # Each curve for the rows that have it alone: logarithms are most of the work.
    for index, curve in ((1, _logarithmic), (2, _exponential)):
        rows = (shape == index).nonzero()[:, 0]
        progress.index_copy_(0, rows, curve(progress.index_select(0, rows)))
    return progress.clamp_(0.0, 1.0).mul_(waveform)


def _logarithmic(progress: Tensor) -> Tensor:
    return torch.log10(progress + 0.1).add_(1.0)


def _exponential(progress: Tensor) -> Tensor:
    return torch.exp2(progress - 1).mul_(progress)


def time_mask(waveform: Tensor, start: Tensor, length: Tensor, n_edge: int) -> Tensor:
    """Set ``length`` samples from ``start`` on to zero.

    Args:
        waveform: (B, T) float32.
        start: First sample of the gap.
        length: Samples of the gap.
        n_edge: Samples of the smooth ramps on both sides of the gap, outside it: 0 cuts hard, which clicks.
    """
    time = torch.arange(waveform.shape[1], dtype=torch.float32, device=waveform.device)[None]
    before, behind = start[:, None] - time, time - (start + length - 1)[:, None]
    to_gap = torch.maximum(before, behind, out=before).add_((length[:, None] == 0) * 2.0 * waveform.shape[1])
    return smoothstep(to_gap.div_(n_edge + 1)).mul_(waveform)


def time_shift(waveform: Tensor, shift: Tensor, n_edge: int) -> Tensor:
    """Rotate by ``shift`` samples, to the right if positive; what leaves at one end enters at the other.

    Args:
        waveform: (B, T) float32.
        shift: Samples, in [-T, T].
        n_edge: Samples of the ramps to zero on both sides of the junction of end and beginning: 0 joins as it is.
    """
    n_rows, n_samples = waveform.shape
    n_edge = min(n_edge, n_samples // 2)
    ramp = smoothstep(torch.arange(1, n_edge + 1, dtype=torch.float32, device=waveform.device) / (n_edge + 1))
    ramp = torch.where((shift % n_samples == 0)[:, None], 1.0, ramp)  # (B, n_edge)
    doubled = torch.cat([waveform, waveform], dim=1)
    for first in (0, n_samples):
        doubled[:, first : first + n_edge] *= ramp
        doubled[:, first + n_samples - n_edge : first + n_samples] *= ramp.flip(1)
    row = torch.arange(n_rows, device=waveform.device) * 2 * n_samples
    return doubled.flatten().unfold(0, n_samples, 1).index_select(0, row + (-shift) % n_samples)


def smoothstep(progress: Tensor) -> Tensor:
    """0 up to 0, 1 from 1 on, and ``3 p**2 - 2 p**3`` between."""
    p = progress.clamp(0.0, 1.0)
    return (3 - 2 * p).mul_(p).mul_(p)
