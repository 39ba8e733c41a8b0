"""From waveform to the network's input: one front-end for training, evaluation and export.

Shapes: B clips, T frames, K = n_fft // 2 + 1 bins, M = n_mels.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from train.config import FrontendConfig
from train.errors import ConfigError

SILENCE_DBFS = -80.0
"""Clips below this RMS level, their mean taken out, are silence: what an ADC or an editor puts between sounds. An
exported network embeds them to zeros."""


def normalise_waveform(waveform: Tensor, variance_floor: float) -> Tensor:
    """Bring each clip to mean 0 and variance 1, so that its level does not matter; silence becomes zeros.

    Args:
        waveform: (B, samples) float32.
        variance_floor: Added to the variance; far below the variance of anything audible.

    Returns:
        (B, samples) float32.
    """
    centred = waveform - waveform.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    return centred * torch.rsqrt(variance + variance_floor)


def mel_bank(cfg: FrontendConfig) -> Tensor:
    """Triangular filters of height 1, evenly spaced on the HTK mel scale ``2595 * log10(1 + f / 700)``.

    Returns:
        (M, K) float32; equal to torchaudio's ``melscale_fbanks(norm=None, mel_scale="htk")``, transposed.

    Raises:
        ConfigError: If a filter is narrower than the bins' spacing and would be empty.
    """
    bins = torch.linspace(0, cfg.sample_rate / 2, cfg.n_fft // 2 + 1, dtype=torch.float64)
    low, high = (2595 * math.log10(1 + f / 700) for f in (cfg.f_min, cfg.f_max))
    edges = 700 * (10 ** (torch.linspace(low, high, cfg.n_mels + 2, dtype=torch.float64) / 2595) - 1)
    widths = edges.diff()  # (M + 1,)
    slopes = edges[:, None] - bins[None, :]  # (M + 2, K)
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    bank = torch.minimum(rising, falling).clamp(min=0)
    if bool((bank.amax(dim=1) == 0).any()):
        raise ConfigError(
            f"frontend.n_mels={cfg.n_mels} leaves mel filters without a single FFT bin: lower frontend.n_mels or raise "
            f"frontend.n_fft={cfg.n_fft}"
        )
    return bank.float()


CPU_ROWS = 12
"""Most clips transformed at a time on a CPU: few enough for their spectra to stay in its caches (3 times faster)."""


class LogMel(nn.Module):
    """Natural logarithm of mel power of each clip, brought to variance 1 before and standardised after.

    Uncentred unless the config says otherwise: frame t sees samples [t * hop, t * hop + win) only. The window is Hann's
    (periodic). ``transform="matmul"`` computes the same Fourier transform as a product with a fixed basis, which any
    runtime can do; ``"fft"`` is faster here.
    """

    window: Tensor
    mel: Tensor
    cosine: Tensor
    sine: Tensor

    def __init__(self, cfg: FrontendConfig, transform: Literal["fft", "matmul"] = "fft") -> None:
        super().__init__()
        self.cfg = cfg
        self.transform = transform
        window = torch.hann_window(cfg.win_length, periodic=True, dtype=torch.float64)
        angle = torch.outer(torch.arange(cfg.n_fft // 2 + 1), torch.arange(cfg.win_length)).double()
        angle = angle * (2 * math.pi / cfg.n_fft)
        # (K, win_length): the real and the imaginary part of the windowed transform, up to the sign of the latter
        self.register_buffer("cosine", (angle.cos() * window).float(), persistent=False)
        self.register_buffer("sine", (angle.sin() * window).float(), persistent=False)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("mel", mel_bank(cfg), persistent=False)  # (M, K)

    def forward(self, waveform: Tensor) -> Tensor:
        """Map (B, samples) float32 to (B, 1, M, T) float32."""
        if waveform.device.type == "cpu" and len(waveform) > CPU_ROWS:
            return torch.cat([self.forward(rows) for rows in torch.split(waveform, CPU_ROWS)])
        return self.log_mel(self.frames(waveform)).transpose(1, 2).unsqueeze(1)

    def frames(self, waveform: Tensor) -> Tensor:
        """Cut normalised (B, samples) into (B, T, win_length), not windowed yet."""
        cfg = self.cfg
        x = normalise_waveform(waveform, cfg.waveform_variance_floor)
        if cfg.centred:
            x = nn.functional.pad(x[:, None], (cfg.win_length // 2, cfg.win_length // 2), mode="reflect")[:, 0]
        return x.unfold(-1, cfg.win_length, cfg.hop_length)

    def log_mel(self, frames: Tensor) -> Tensor:
        """Standardised logarithm of the mel power of (B, T, win_length) frames: (B, T, M)."""
        cfg = self.cfg
        if self.transform == "fft":
            spectrum = torch.fft.rfft(frames * self.window, n=cfg.n_fft)  # (B, T, K)
            power = spectrum.real.square() + spectrum.imag.square()
        else:
            power = (frames @ self.cosine.T).square() + (frames @ self.sine.T).square()
        mel = power @ self.mel.T
        return (mel.clamp(min=cfg.log_floor).log() - cfg.log_mean) / cfg.log_std


class LogMelStft(LogMel):
    """The paper's three channels, after CLAR (arXiv:2010.09542) and ``batch_to_log_mel_spec_plus_stft`` of its code.

    Channel 1 is that of :class:`LogMel`. For the others, real and imaginary part of the transform without a window are
    projected on the mel filters, each by itself: channel 2 is ten times the decimal logarithm of the pair's magnitude,
    channel 3 its angle.
    """

    def forward(self, waveform: Tensor) -> Tensor:
        """Map (B, samples) float32 to (B, 3, M, T) float32: standardised, dB, and radians in [-pi, pi]."""
        frames = self.frames(waveform)
        spectrum = torch.fft.rfft(frames, n=self.cfg.n_fft)
        real, imaginary = spectrum.real @ self.mel.T, spectrum.imag @ self.mel.T  # (B, T, M) each
        magnitude = torch.sqrt(real.square() + imaginary.square())
        level = 10 * torch.log10(magnitude + torch.finfo(torch.float64).eps)
        return torch.stack([self.log_mel(frames), level, torch.atan2(imaginary, real)], dim=1).transpose(2, 3)


def make_frontend(cfg: FrontendConfig) -> LogMel:
    """The front-end that a config asks for."""
    return LogMel(cfg) if cfg.channels == "log-mel" else LogMelStft(cfg)
