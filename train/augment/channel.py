"""A room and a microphone between a sound and its recording: what a recogniser must not mind, whatever it was taught.

Everything is linear, so that one product of spectra does it: a low-pass (telephones, cheap converters), a smooth tilt
of the spectrum (capsules, housings), and the tail of a room: noise that decays exponentially (Polack's model).
Shapes: N clips, T samples, K bins.
"""

import math

import torch
from torch import Tensor

CUTOFF_HZ = (3000.0, 8000.0)
"""Of the low-pass, whose slope is an octave wide or less; drawn evenly on a logarithmic scale."""
TILT_DB = 6.0
"""Most that any of the tilt's few cosines over the logarithm of frequency adds or takes away."""
N_TILTS = 3
DECAY_S = (0.1, 0.6)
"""Time in which the room's tail falls by 60 dB."""
TAIL_S = 0.25
"""What of the tail is computed."""
DIRECT_DB = (0.0, 20.0)
"""Level of the direct sound over the whole tail."""


def record(clips: Tensor, sample_rate: int, generator: torch.Generator) -> Tensor:
    """Put each clip through a channel of its own, and bring it back to its power.

    Each of the three parts is there for half of the clips.

    Args:
        clips: (N, T) float32.
        sample_rate: Hz.
        generator: On the CPU; all that is drawn follows from it.

    Returns:
        (N, T) float32.
    """
    n, n_samples = clips.shape
    n_tail = round(TAIL_S * sample_rate)
    n_fft = _fast_length(n_samples + n_tail)

    def uniform(low: float, high: float, size: int = 1) -> Tensor:
        return (torch.rand(n, size, generator=generator) * (high - low) + low).to(clips.device)

    def half() -> Tensor:
        return uniform(0, 1) < 0.5

    octave = (torch.fft.rfftfreq(n_fft, 1 / sample_rate, device=clips.device).clamp(min=50.0) / 50.0).log2()  # (K,)
    cutoff = uniform(math.log2(CUTOFF_HZ[0] / 50.0), math.log2(CUTOFF_HZ[1] / 50.0))
    slope = uniform(8.0, 24.0)
    low_pass = torch.where(half(), torch.sigmoid((cutoff - octave) * slope), 1.0)
    place = octave / octave[-1]
    waves = torch.cos(math.pi * torch.arange(1, N_TILTS + 1, device=clips.device)[:, None] * place)  # (N_TILTS, K)
    tilt_db = torch.where(half(), uniform(-TILT_DB, TILT_DB, N_TILTS) @ waves, 0.0)
    gain = low_pass * 10 ** (tilt_db / 20)  # (N, K)

    time = torch.arange(n_tail, device=clips.device) / sample_rate
    noise = torch.randn(n, n_tail, generator=generator).to(clips.device)
    tail = noise * torch.exp(-math.log(1000.0) * time / uniform(*DECAY_S))
    tail = tail / tail.square().sum(dim=1, keepdim=True).sqrt()
    tail = torch.where(half(), tail * 10 ** (-uniform(*DIRECT_DB) / 20), 0.0)
    tail[:, 0] += 1.0

    spectrum = torch.fft.rfft(clips, n=n_fft) * torch.fft.rfft(tail, n=n_fft) * gain
    heard = torch.fft.irfft(spectrum, n=n_fft)[:, :n_samples]
    power, was = heard.square().mean(dim=1, keepdim=True), clips.square().mean(dim=1, keepdim=True)
    return heard * torch.sqrt(was / power.clamp(min=1e-20))


def _fast_length(n: int) -> int:
    """The least length from ``n`` on with no prime factor above 5, for which transforms are fast."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1
