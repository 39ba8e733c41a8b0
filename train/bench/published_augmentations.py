"""The seven augmentations of one clip as the published code computes them (``paper.md``, its specification sheet).

After ``MT-SLVR/custom_augs.py`` and the libraries it calls: torch_audiomentations 0.12, torch_pitch_shift 1.2.5 and
torchaudio (paper.md, sections 0 and 2). Written anew, operation by operation, faults included (section 6.1, items 11
and 21; 6.2, item 7); nothing is slower than there. Shapes: T samples of one clip, K bins, N frames.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from train.augment.chain import AUGMENTATIONS

_FAST_RATIOS = tuple(Fraction(*pair) for pair in ((1, 2), (64, 125), (5, 8), (16, 25), (25, 32), (4, 5), (125, 128)))
PITCH_RATIOS = (*_FAST_RATIOS, *(1 / ratio for ratio in _FAST_RATIOS))
"""``get_fast_shifts(16000)``: quotients of products of 16000's prime factors, up to an octave (paper.md, section 2)."""


def augment(waveform: Tensor, kinds: Sequence[int], sample_rate: int, rng: np.random.Generator) -> Tensor:
    """Put one clip (T,) through augmentations, by their indices, each as a transform of a batch of one."""
    batch = waveform[None, None]
    for kind in kinds:
        # BaseWaveformTransform.forward: draw whether to apply it (p = 1), clone, select the rows, write them back.
        applies = torch.bernoulli(torch.ones(1)).bool()
        batch = batch.clone()
        selected = batch[applies]
        batch[applies] = _transform(selected[0, 0], AUGMENTATIONS[kind], sample_rate, rng)[None, None]
    return batch[0, 0]


def _transform(x: Tensor, name: str, sample_rate: int, rng: np.random.Generator) -> Tensor:
    match name:
        case "pitch_shift":
            return shift_pitch(x, PITCH_RATIOS[int(rng.integers(len(PITCH_RATIOS)))], sample_rate)
        case "fade":
            return fade(x, int(rng.integers(len(x) // 2 + 1)), int(rng.integers(len(x) // 2 + 1)), int(rng.integers(3)))
        case "white_noise":
            return add_noise(x, sample_rate, -1.0, 0.0)
        case "mixed_noise":
            return add_noise(x, sample_rate, -2.0, 2.0)
        case "time_stretch":
            return stretch(x, round(float(rng.uniform(0.5, 1.5)), 2))
        case "time_mask":
            return mask(x, 0.125 * len(x))
        case _:
            return torch.roll(x, int(torch.randint(-len(x) // 2, len(x) // 2 + 1, (1,))))


def shift_pitch(x: Tensor, ratio: Fraction, sample_rate: int) -> Tensor:
    """torch_pitch_shift: a vocoder with windows of 1/64 s, 32 of them a window apart, then resampling."""
    n_fft = sample_rate // 64
    hop = n_fft // 32
    window = torch.ones(n_fft)
    spectrum = torch.stft(x, n_fft, hop, window=window, return_complex=True)
    stretched = torch.istft(_complex_vocoder(spectrum, float(1 / ratio), hop), n_fft, hop, window=window)
    shifted = resample(stretched, sample_rate, int(sample_rate / ratio))[: len(x)]
    return F.pad(shifted, (0, len(x) - len(shifted)))


def _complex_vocoder(spectrum: Tensor, rate: float, hop_length: int) -> Tensor:
    """Torchaudio's ``phase_vocoder`` of one (K, N) complex spectrum."""
    advance = torch.linspace(0, math.pi * hop_length, spectrum.shape[0])[:, None]
    steps = torch.arange(0, spectrum.shape[1], rate)
    phase_0 = spectrum[:, :1].angle()
    padded = F.pad(spectrum, (0, 2))
    now, after = padded.index_select(1, steps.long()), padded.index_select(1, (steps + 1).long())
    phase = after.angle() - now.angle() - advance
    phase = phase - 2 * math.pi * torch.round(phase / (2 * math.pi)) + advance
    phase = torch.cumsum(torch.cat([phase_0, phase[:, :-1]], dim=1), dim=1)
    alphas = steps % 1.0
    return torch.polar(alphas * after.abs() + (1 - alphas) * now.abs(), phase)


def resample(x: Tensor, rate: int, new_rate: int) -> Tensor:
    """Torchaudio's ``Resample``, whose kernels (windowed sinc, 6 zero crossings) are made anew for each call."""
    divisor = math.gcd(rate, new_rate)
    rate, new_rate = rate // divisor, new_rate // divisor
    base = min(rate, new_rate) * 0.99
    width = math.ceil(6 * rate / base)
    time = torch.arange(-width, width + rate, dtype=torch.float64)[None, None] / rate
    time = (torch.arange(0, -new_rate, -1)[:, None, None] / new_rate + time) * base
    time = time.clamp_(-6, 6)
    window = torch.cos(time * math.pi / 12) ** 2
    time *= math.pi
    kernels = torch.where(time == 0, 1.0, time.sin() / time) * window * (base / rate)
    padded = F.pad(x, (width, width + rate))[None, None]
    out = F.conv1d(padded, kernels.float(), stride=rate)  # (1, new_rate, blocks)
    return out.transpose(1, 2).reshape(-1)[: math.ceil(new_rate * len(x) / rate)]


def stretch(x: Tensor, rate: float) -> Tensor:
    """``CustomTimeStretch``: 2048 / 512, no window, the rest filled with the clip's own beginning."""
    window = torch.ones(2048)
    pairs = torch.view_as_real(torch.stft(x, 2048, window=window, return_complex=True))
    y = torch.istft(torch.view_as_complex(_paired_vocoder(pairs, rate)), 2048, window=window)
    return y.repeat(-(-len(x) // len(y)))[: len(x)]


def _paired_vocoder(pairs: Tensor, rate: float) -> Tensor:
    """``Dataset_/vocoder.py``: (K, N, 2) real and imaginary parts, with one and the same phase advance for all bins."""

    def angle(x: Tensor) -> Tensor:
        return torch.atan2(x[..., 1], x[..., 0])

    advance = 1025
    steps = torch.arange(0, pairs.shape[1], rate)
    alphas = torch.remainder(steps, torch.tensor(1.0))
    phase_0 = angle(pairs[:, :1])
    padded = F.pad(pairs, (0, 0, 0, 2))
    now, after = padded[:, steps.long()], padded[:, (steps + 1).long()]
    angle_now, angle_after = angle(now), angle(after)
    norm_now, norm_after = torch.linalg.vector_norm(now, dim=-1), torch.linalg.vector_norm(after, dim=-1)
    phase = angle_after - angle_now - advance
    phase = phase - 2 * math.pi * torch.round(phase / (2 * math.pi)) + advance
    phase = torch.cumsum(torch.cat([phase_0, phase[:, :-1]], dim=-1), dim=-1)
    magnitude = alphas * norm_after + (1 - alphas) * norm_now
    return torch.stack([magnitude * torch.cos(phase), magnitude * torch.sin(phase)], dim=-1)


def add_noise(x: Tensor, sample_rate: int, least_decay: float, most_decay: float) -> Tensor:
    """``AddColoredNoise``: one second of noise, repeated."""
    snr_db = torch.distributions.Uniform(torch.tensor(3.0), torch.tensor(30.0)).sample((1,))
    decay = torch.distributions.Uniform(torch.tensor(least_decay), torch.tensor(most_decay)).sample((1,))
    spectrum = torch.fft.rfft(torch.normal(0.0, 1.0, (sample_rate,)))
    spectrum = spectrum * (1 / torch.linspace(1, (sample_rate / 2) ** 0.5, len(spectrum)) ** decay)
    noise = torch.fft.irfft(spectrum)
    noise = noise / (noise.square().mean().sqrt() + 1e-8)
    noise = torch.cat([noise] * -(-len(x) // len(noise)))[: len(x)]
    return x + x.square().mean().sqrt() / 10 ** (snr_db / 20) * noise


def fade(x: Tensor, n_in: int, n_out: int, shape: int) -> Tensor:
    """Torchaudio's ``Fade``: linear, logarithmic or exponential."""
    up, down = torch.linspace(0, 1, n_in), torch.linspace(0, 1, n_out)
    if shape == 0:
        down = 1 - down
    elif shape == 1:
        up, down = torch.log10(0.1 + up) + 1, torch.log10(1.1 - down) + 1
    else:
        up, down = torch.pow(2, up - 1) * up, torch.pow(2, -down) * (1 - down)
    gain_in = torch.cat([up, torch.ones(len(x) - n_in)]).clamp_(0, 1)
    gain_out = torch.cat([torch.ones(len(x) - n_out), down]).clamp_(0, 1)
    return gain_in * gain_out * x


def mask(x: Tensor, most: float) -> Tensor:
    """Torchaudio's ``TimeMasking``: up to ``most`` samples set to zero."""
    length = torch.rand(1) * most
    start = torch.rand(1) * (len(x) - length)
    first, last = start.long(), start.long() + length.long()
    position = torch.arange(len(x))
    return x.masked_fill((position >= first) & (position < last), 0.0)
