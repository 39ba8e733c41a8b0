"""Coloured noise at a given signal-to-noise ratio. Shapes: B rows, T samples."""

import torch
from torch import Tensor


def coloured_noise(n_samples: int, decay: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise whose amplitude falls as frequency ** -decay: -2 violet, -1 blue, 0 white, 1 pink, 2 brown.

    As long as asked for and not periodic within it, unlike the published code's, which repeats one second.

    Args:
        n_samples: T.
        decay: (B,) exponents.
        generator: On the device of ``decay``.

    Returns:
        (B, T) float32 of mean 0 and mean square 1.
    """
    n_bins = n_samples // 2 + 1
    parts = torch.randn((len(decay), n_bins, 2), generator=generator, device=decay.device)
    frequency = torch.arange(n_bins, device=decay.device) / (n_bins - 1)
    frequency[0] = 1.0  # its gain is set to zero below
    gain = torch.exp(-decay[:, None] * frequency.log())
    gain[:, 0] = 0.0
    noise = torch.fft.irfft(torch.view_as_complex(parts).mul_(gain), n=n_samples)
    return noise.mul_(1 / root_mean_square(noise))


def add_noise(waveform: Tensor, snr_db: Tensor, decay: Tensor, generator: torch.Generator) -> Tensor:
    """Add coloured noise at ``snr_db`` below the clip's own mean power; silence gets none.

    Args:
        waveform: (B, T) float32.
        snr_db: (B,) clip power over noise power.
        decay: (B,) exponents of :func:`coloured_noise`.
        generator: On the device of ``waveform``.
    """
    level = root_mean_square(waveform) * 10 ** (-snr_db[:, None] / 20)
    return coloured_noise(waveform.shape[1], decay, generator).mul_(level).add_(waveform)


def root_mean_square(waveform: Tensor) -> Tensor:
    """Map (B, T) to (B, 1)."""
    norm: Tensor = torch.linalg.vector_norm(waveform, dim=1, keepdim=True)
    return norm / waveform.shape[1] ** 0.5
