"""Augmentations that move a clip or scale its samples: fade, time mask, time shift.

Shapes: B rows, T samples. Every parameter is a (B,) tensor.
"""

import math

import torch
from torch import Tensor

FADE_SHAPES = ("linear", "logarithmic", "exponential")
"""Index of a shape is the parameter of :func:`fade`."""


def fade(waveform: Tensor, n_in: Tensor, n_out: Tensor, shape: Tensor) -> Tensor:
    """Fade in and out, with torchaudio's ``Fade`` curves.

    Args:
        waveform: (B, T) float32.
        n_in: Samples of the fade-in, in [0, T].
        n_out: Samples of the fade-out, in [0, T].
        shape: Index into ``FADE_SHAPES``, used at both ends.

    Returns:
        (B, T) float32.
    """
    n_samples = waveform.shape[1]
    time = torch.arange(n_samples, device=waveform.device)[None]  # (1, T)
    # Progress of each ramp from 0 to 1, as linspace(0, 1, n) gives it; rows without a ramp get 1 and 0.
    rise = (time / (n_in[:, None] - 1).clamp(min=1)).clamp(max=1.0)
    fall = ((time - (n_samples - n_out[:, None])) / (n_out[:, None] - 1).clamp(min=1)).clamp(0.0, 1.0)
    rise = torch.where(n_in[:, None] > 0, rise, 1.0)
    fall = torch.where(n_out[:, None] > 0, fall, 0.0)
    shape = shape[:, None]
    gain_in = torch.where(
        shape == 0, rise, torch.where(shape == 1, torch.log10(0.1 + rise) + 1, torch.exp2(rise - 1) * rise)
    )
    gain_out = torch.where(
        shape == 0, 1 - fall, torch.where(shape == 1, torch.log10(1.1 - fall) + 1, torch.exp2(-fall) * (1 - fall))
    )
    return waveform * gain_in.clamp(0, 1) * gain_out.clamp(0, 1)


def time_mask(waveform: Tensor, start: Tensor, length: Tensor, n_edge: int) -> Tensor:
    """Set ``length`` samples from ``start`` on to zero.

    Args:
        waveform: (B, T) float32.
        start: First sample of the gap.
        length: Samples of the gap.
        n_edge: Samples of the raised-cosine ramps on both sides of the gap, outside it: 0 cuts hard, which clicks.
    """
    time = torch.arange(waveform.shape[1], device=waveform.device)[None]
    outside = torch.maximum(
        start[:, None] - time, time - (start + length)[:, None] + 1
    )  # samples to the gap; <= 0 in it
    gain = _raised_cosine(outside, n_edge)
    return torch.where(length[:, None] > 0, waveform * gain, waveform)


def time_shift(waveform: Tensor, shift: Tensor, n_edge: int) -> Tensor:
    """Rotate by ``shift`` samples, to the right if positive; what leaves at one end enters at the other.

    Args:
        waveform: (B, T) float32.
        shift: Samples, in [-T, T].
        n_edge: Samples of the ramps to zero on both sides of the junction of end and beginning: 0 joins as it is.
    """
    n_samples = waveform.shape[1]
    time = torch.arange(n_samples, device=waveform.device)[None]
    source = (time - shift[:, None]) % n_samples
    to_junction = torch.minimum(source, n_samples - 1 - source) + 1
    rotated = torch.gather(waveform, 1, source) * _raised_cosine(to_junction, n_edge)
    return torch.where(shift[:, None] == 0, waveform, rotated)


def _raised_cosine(distance: Tensor, n_edge: int) -> Tensor:
    """0 up to distance 0, 1 from ``n_edge`` + 1 on, half a cosine between."""
    progress = (distance / (n_edge + 1)).clamp(0.0, 1.0)
    return 0.5 - 0.5 * torch.cos(math.pi * progress)
