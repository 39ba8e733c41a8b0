"""Makes a teacher's ONNX file, waveform in and embedding out, of the weights that its authors publish.

They publish pickles, which nothing here opens: docs/TRAINING.md says how one becomes a safetensors file. ``mn04`` is
EfficientAT's MobileNetV3 of width 0.4 (Schmid et al. 2023, arXiv:2211.04772), ``mn04_as_mAP_432.pt`` of its GitHub
releases: the averages of the blocks' outputs from the fifth on and of the last layer, 832-d. ``ge2e`` is Resemblyzer's
speaker encoder (Wan et al. 2018, arXiv:1710.10467), ``resemblyzer/pretrained.pt`` of PyPI Resemblyzer 0.1.4: 256-d.
Google's speech_embedding is an ONNX file as it is. Shapes: B clips, S samples, K bins, C and D channels, F bands,
T frames.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from train.errors import ConfigError
from train.files import replace_file

FloatArray = npt.NDArray[np.float64]

_STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1)
"""Of MobileNetV3-Large's fifteen blocks (Howard et al. 2019, arXiv:1905.02244, table 1)."""


class PowerSpectrum(nn.Module):
    """Power spectra by one convolution with windowed cosines and sines, which any runtime can do."""

    basis: Tensor

    def __init__(self, window: Tensor, n_fft: int, hop_length: int, mode: str) -> None:
        super().__init__()
        self.hop_length, self.n_fft, self.mode = hop_length, n_fft, mode
        padded = torch.zeros(n_fft)
        first = (n_fft - len(window)) // 2
        padded[first : first + len(window)] = window
        angle = torch.outer(torch.arange(n_fft // 2 + 1).double(), torch.arange(n_fft).double()) * (2 * math.pi / n_fft)
        self.register_buffer("basis", (torch.cat([angle.cos(), angle.sin()]) * padded)[:, None].float())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, S) to (B, K, T), frames centred."""
        x = F.pad(x[:, None], (self.n_fft // 2, self.n_fft // 2), self.mode)
        re, im = F.conv1d(x, self.basis, stride=self.hop_length).chunk(2, 1)
        return re * re + im * im


class Mn04(nn.Module):
    """EfficientAT's mn04, batch norms folded into the convolutions before them."""

    bank: Tensor

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = weights
        self.convolutions: dict[str, tuple[Tensor, Tensor]] = {}
        for key in [key for key in weights if key.endswith(".1.running_var")]:
            name = key.removesuffix(".1.running_var")
            scale = weights[f"{name}.1.weight"] / torch.sqrt(weights[key] + 0.001)
            self.convolutions[name] = (
                weights[f"{name}.0.weight"] * scale[:, None, None, None],
                weights[f"{name}.1.bias"] - weights[f"{name}.1.running_mean"] * scale,
            )
        self.spectrum = PowerSpectrum(torch.hann_window(800, periodic=False), 1024, 320, "reflect")
        self.register_buffer("bank", _straight_in_mel(128, 1024, 32_000, 0.0, 15_000.0))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, S) at 32 kHz to (B, 832)."""
        x = x[:, 1:] - 0.97 * x[:, :-1]
        x = ((torch.matmul(self.bank, self.spectrum(x)) + 1e-5).log() + 4.5)[:, None] / 5
        x = self._convolve(x, "features.0", 2, F.hardswish)
        means = []
        for number, stride in enumerate(_STRIDES, 1):
            x = self._block(x, number, stride)
            if number >= 5:
                means.append(x.mean((2, 3)))
        return torch.cat([*means, self._convolve(x, "features.16", 1, F.hardswish).mean((2, 3))], 1)

    def _block(self, x: Tensor, number: int, stride: int) -> Tensor:
        base, before = f"features.{number}.block", x
        activation: Callable[[Tensor], Tensor] = F.relu if number <= 6 else F.hardswish
        parts = sorted({int(key.split(".")[3]) for key in self.weights if key.startswith(f"{base}.")})
        for part in parts:
            name = f"{base}.{part}"
            if name in self.convolutions:
                depthwise = self.convolutions[name][0].shape[1] == 1
                x = self._convolve(x, name, stride if depthwise else 1, None if part == parts[-1] else activation)
            else:
                x = x * self._excitation(x, f"{name}.conc_se_layers.0.")
        return x + before if x.shape == before.shape and stride == 1 else x

    def _excitation(self, x: Tensor, name: str) -> Tensor:
        w = self.weights
        hidden = torch.relu(F.linear(x.mean((2, 3)), w[f"{name}fc1.weight"], w[f"{name}fc1.bias"]))
        return torch.sigmoid(F.linear(hidden, w[f"{name}fc2.weight"], w[f"{name}fc2.bias"]))[:, :, None, None]

    def _convolve(self, x: Tensor, name: str, stride: int, activation: Callable[[Tensor], Tensor] | None) -> Tensor:
        weight, bias = self.convolutions[name]
        groups = weight.shape[0] if weight.shape[1] == 1 and x.shape[1] > 1 else 1
        x = F.conv2d(x, weight, bias, stride, (weight.shape[-1] - 1) // 2, 1, groups)
        return x if activation is None else activation(x)


class Ge2e(nn.Module):
    """Resemblyzer's speaker encoder: three LSTM layers over 40 mel bands."""

    bank: Tensor

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        prefix = "lstm."
        self.lstm.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        self.linear = nn.Linear(256, 256)
        self.linear.load_state_dict({"weight": weights["linear.weight"], "bias": weights["linear.bias"]})
        self.spectrum = PowerSpectrum(torch.hann_window(400), 400, 160, "constant")
        self.register_buffer("bank", _slaney(40, 400, 16_000, 0.0, 8000.0))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, S) at 16 kHz to (B, 256) of unit length."""
        mel = torch.matmul(self.bank, self.spectrum(x)).transpose(1, 2)
        _, (hidden, _) = self.lstm(mel)
        return F.normalize(torch.relu(self.linear(hidden[-1])), dim=1)


def make_teacher(name: str, published: Path, out: Path) -> float:
    """Write ``<name>.onnx`` and compare it with the network that it was made from.

    Args:
        name: ``mn04`` or ``ge2e``.
        published: The authors' weights as a safetensors file.
        out: Folder to write to.

    Returns:
        The largest difference of the two answers to two clips of noise.

    Raises:
        ConfigError: If the file is missing or not the one that is meant.
    """
    import onnxruntime as ort

    if not published.is_file():
        raise ConfigError(f"there is no file {published}: docs/TRAINING.md says where it is had")
    generator = torch.Generator().manual_seed(0)
    try:
        weights = load_file(published)
        network, n_samples = (Mn04(weights), 32_000) if name == "mn04" else (Ge2e(weights), 25_600)
        waveform = 0.1 * torch.randn(2, n_samples, generator=generator)
        with torch.no_grad():
            expected = network.eval()(waveform).numpy()
    except Exception as err:  # whatever a foreign file may hold
        raise ConfigError(
            f"{published} is not the published {name} as safetensors: docs/TRAINING.md says how that is made"
        ) from err
    out.mkdir(parents=True, exist_ok=True)

    def write(aside: Path) -> None:
        torch.onnx.export(
            network,
            (waveform,),
            str(aside),
            input_names=["waveform"],
            output_names=["embedding"],
            opset_version=17,
            dynamic_axes={"waveform": {0: "batch", 1: "samples"}, "embedding": {0: "batch"}},
            dynamo=False,
        )

    with torch.no_grad():
        replace_file(out / f"{name}.onnx", write)
    session = ort.InferenceSession(str(out / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    return float(np.abs(session.run(None, {"waveform": waveform.numpy()})[0] - expected).max())


def _straight_in_mel(n_mels: int, n_fft: int, rate: int, f_min: float, f_max: float) -> Tensor:
    """(n_mels, K) filters with edges evenly spaced on the HTK mel scale and sides straight in mel, as in Kaldi."""
    hz = np.arange(n_fft // 2 + 1) * rate / n_fft
    low, high, bins = (2595 * np.log10(1 + np.asarray(f) / 700) for f in (f_min, f_max, hz))
    return torch.from_numpy(_triangles(np.linspace(low, high, n_mels + 2), bins).astype(np.float32))


def _slaney(n_mels: int, n_fft: int, rate: int, f_min: float, f_max: float) -> Tensor:
    """(n_mels, K) filters on Slaney's mel scale, sides straight in Hz, of equal area: librosa's."""
    hz = np.arange(n_fft // 2 + 1) * rate / n_fft
    step = np.log(6.4) / 27
    low, high = (f * 3 / 200 if f < 1000 else 15 + np.log(f / 1000) / step for f in (f_min, f_max))
    mel = np.linspace(low, high, n_mels + 2)
    edges = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(step * (mel - 15)))
    bank = _triangles(edges, hz) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(bank.astype(np.float32))


def _triangles(edges: FloatArray, bins: FloatArray) -> FloatArray:
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(up, down))
