"""A step as the published code does it, for comparison: file by file, clip by clip, view by view, task by task.

After ``MT-SLVR/`` of its repository and the libraries it calls (torch_audiomentations 0.12, torch_pitch_shift 1.2.5): a
Python loop applies each augmentation to one clip at a time; spectrogram objects are built anew for each batch and view;
each view goes through the whole network once for each task; the contrastive loss compares all pairs by broadcasting;
float32, no cache. Where a choice was open the faster one was taken: resampling is soxr's, not a Python convolution.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor
from torch.nn import functional as F

from train.augment.chain import AUGMENTATIONS
from train.config import Config
from train.frontend import make_frontend
from train.losses import mlap
from train.system import PretrainingSystem


def read_window(path: Path, n_samples: int, sample_rate: int, rng: np.random.Generator) -> Tensor:
    """Decode a whole file and cut (samples,) float32 out of it, or repeat it until it is long enough."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate)
    if len(mono) < n_samples:
        mono = np.tile(mono, -(-n_samples // max(1, len(mono))))
    start = int(rng.integers(len(mono) - n_samples + 1))
    return torch.from_numpy(np.ascontiguousarray(mono[start : start + n_samples]))


def phase_vocoder(spectrum: Tensor, rate: float, hop_length: int) -> Tensor:
    """Torchaudio's ``phase_vocoder`` of one (bins, frames) complex spectrum."""
    advance = torch.linspace(0, math.pi * hop_length, spectrum.shape[0])[:, None]
    steps = torch.arange(0, spectrum.shape[1], rate)
    phase_0 = spectrum[:, :1].angle()
    padded = F.pad(spectrum, (0, 2))
    now, after = padded[:, steps.long()], padded[:, (steps + 1).long()]
    phase = after.angle() - now.angle() - advance
    phase = phase - 2 * math.pi * torch.round(phase / (2 * math.pi)) + advance
    phase = torch.cumsum(torch.cat([phase_0, phase[:, :-1]], dim=1), dim=1)
    alphas = steps % 1.0
    magnitude = alphas * after.abs() + (1 - alphas) * now.abs()
    return torch.polar(magnitude, phase)


def shift_pitch(x: Tensor, sample_rate: int, rng: np.random.Generator) -> Tensor:
    """torch_pitch_shift: a vocoder with windows of 1/64 s, 32 of them a window apart, then resampling."""
    ratio = 2 ** (rng.choice([-12, -11.59, -8.14, -7.73, -4.27, -3.86, -0.41, 0.41, 3.86, 4.27, 7.73, 8.14, 12]) / 12)
    n_fft = sample_rate // 64
    hop = n_fft // 32
    window = torch.ones(n_fft)
    spectrum = torch.stft(x, n_fft, hop, window=window, return_complex=True)
    stretched = torch.istft(phase_vocoder(spectrum, 1 / ratio, hop), n_fft, hop, window=window)
    shifted = soxr.resample(stretched.numpy(), sample_rate, sample_rate / ratio)
    out = torch.zeros_like(x)
    n = min(len(out), len(shifted))
    out[:n] = torch.from_numpy(shifted[:n])
    return out


def stretch(x: Tensor, rng: np.random.Generator) -> Tensor:
    """``CustomTimeStretch``: 2048 / 512, no window, the rest filled with the clip's own beginning."""
    window = torch.ones(2048)
    spectrum = torch.stft(x, 2048, 512, window=window, return_complex=True)
    rate = round(float(rng.uniform(0.5, 1.5)), 2)
    y = torch.istft(phase_vocoder(spectrum, rate, 512), 2048, 512, window=window)
    return torch.cat([y] * 3)[: len(x)] if len(y) < len(x) else y[: len(x)]


def add_noise(x: Tensor, sample_rate: int, decay: float, rng: np.random.Generator) -> Tensor:
    """``AddColoredNoise``: one second of noise, repeated."""
    spectrum = torch.fft.rfft(torch.randn(sample_rate))
    gain = 1 / torch.linspace(1, math.sqrt(sample_rate / 2), len(spectrum)) ** decay
    noise = torch.fft.irfft(spectrum * gain)
    noise = torch.cat([noise] * -(-len(x) // len(noise)))[: len(x)]
    rms = x.square().mean().sqrt() / 10 ** (rng.uniform(3, 30) / 20)
    return x + noise * rms / noise.square().mean().sqrt()


def fade(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Torchaudio's ``Fade``."""
    n_in, n_out = (int(rng.uniform(0, len(x) // 2)) for _ in range(2))
    up, down = torch.linspace(0, 1, n_in), torch.linspace(0, 1, n_out)
    shape = rng.integers(3)
    if shape == 0:
        down = 1 - down
    elif shape == 1:
        up, down = torch.log10(0.1 + up) + 1, torch.log10(1.1 - down) + 1
    else:
        up, down = torch.pow(2, up - 1) * up, torch.pow(2, -down) * (1 - down)
    gain_in = torch.cat([up, torch.ones(len(x) - n_in)]).clamp(0, 1)
    gain_out = torch.cat([torch.ones(len(x) - n_out), down]).clamp(0, 1)
    return x * gain_in * gain_out


def augment(x: Tensor, kinds: Sequence[int], sample_rate: int, rng: np.random.Generator) -> Tensor:
    """Put one clip through augmentations, by their indices."""
    for kind in kinds:
        match AUGMENTATIONS[kind]:
            case "pitch_shift":
                x = shift_pitch(x, sample_rate, rng)
            case "fade":
                x = fade(x, rng)
            case "white_noise":
                x = add_noise(x, sample_rate, rng.uniform(-1, 0), rng)
            case "mixed_noise":
                x = add_noise(x, sample_rate, rng.uniform(-2, 2), rng)
            case "time_stretch":
                x = stretch(x, rng)
            case "time_mask":
                n = int(rng.uniform(0, 0.125 * len(x)))
                start = int(rng.integers(len(x) - n + 1))
                x = x.clone()
                x[start : start + n] = 0
            case _:
                x = torch.roll(x, int(rng.uniform(-0.5, 0.5) * len(x)))
    return x


def nt_xent_by_broadcasting(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """``NT_XentLoss``: a (2N, 2N, P) comparison."""
    z = torch.cat([z1, z2])
    similarity = F.cosine_similarity(z.unsqueeze(1), z.unsqueeze(0), dim=-1) / temperature
    n = len(z1)
    positives = torch.cat([similarity.diag(n), similarity.diag(-n)])
    negatives = similarity[~torch.eye(2 * n, dtype=torch.bool)].view(2 * n, -1)
    return (torch.logsumexp(negatives, dim=1) - positives).mean()


class PerClipPipeline:
    """Files in, one step of training out."""

    def __init__(self, cfg: Config, files: Sequence[Path], system: PretrainingSystem, seed: int = 0) -> None:
        self.cfg = cfg
        self.files = files
        self.system = system
        self.optimiser = torch.optim.Adam(system.parameters(), cfg.optim.lr, weight_decay=cfg.optim.weight_decay)
        self.rng = np.random.default_rng(seed)

    def read(self) -> list[Tensor]:
        """A batch of windows, each decoded from its file."""
        cfg = self.cfg
        chosen = self.rng.choice(len(self.files), cfg.run.batch_size, replace=False)
        rate = cfg.frontend.sample_rate
        return [read_window(self.files[i], cfg.clip_samples, rate, self.rng) for i in chosen]

    def augment(self, clips: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Both views, (N, samples) each, and the labels (N, 7), clip after clip."""
        first, second, labels = [], [], torch.zeros(len(clips), len(AUGMENTATIONS))
        for i, clip in enumerate(clips):
            kinds = self.rng.permutation(len(AUGMENTATIONS))[: self.rng.integers(1, 8)].tolist()
            labels[i, kinds] = 1
            first.append(augment(clip, kinds, self.cfg.frontend.sample_rate, self.rng))
            second.append(augment(clip, kinds, self.cfg.frontend.sample_rate, self.rng))
        return torch.stack(first), torch.stack(second), labels

    def train(self, first: Tensor, second: Tensor, labels: Tensor) -> float:
        """One step on two views: a pass of the network for each view and task."""
        system, cfg = self.system, self.cfg
        self.optimiser.zero_grad()
        embeddings = []
        for view in (first, second):
            x = make_frontend(cfg.frontend)(view)
            embeddings += [system.backbone.branch(system.backbone.shared(x), task) for task in range(2)]
        assert system.contrastive is not None
        assert system.predictive is not None
        contrastive = nt_xent_by_broadcasting(
            system.contrastive(embeddings[0]), system.contrastive(embeddings[2]), cfg.loss.temperature
        )
        predictive = (
            mlap(system.predictive(embeddings[1]), labels) + mlap(system.predictive(embeddings[3]), labels)
        ) / 2
        loss = contrastive + cfg.loss.mlap_weight * predictive
        torch.autograd.backward(loss)
        self.optimiser.step()
        return float(loss.detach())
