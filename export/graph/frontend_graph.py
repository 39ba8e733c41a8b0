"""The log-mel front-end as convolutions: the same numbers as :class:`train.frontend.LogMel`, in any ONNX runtime.

The transform of a frame is computed as Cooley and Tukey (1965) do, in two steps, with n = P a + b and k = c + Q d:

    X[c + Q d] = sum_b exp(-2 pi i b d / P)  *  sum_a x[P a + b] exp(-2 pi i c (P a + b) / N),     N = P Q

The frame is real, so that c from 0 to Q / 2 is enough. The inner sum is a convolution over the rows of the waveform
laid out in rows of P samples, a column at a time; the outer one mixes the columns, for each c apart. For N = 1024 that
is 0.08 million multiplications a frame instead of 0.66 million.

Shapes: B clips, T frames, M = n_mels, A rows of a frame, n_c = Q // 2 + 1.
"""

import math

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from export.errors import ExportError
from export.graph.graph_writer import GraphWriter
from train.config import FrontendConfig
from train.frontend import SILENCE_DBFS, mel_bank

Array = NDArray[np.float64]

SPECTROGRAM = "frontend.log_mel"
"""Name of the value that the convolutions start from."""
AUDIBLE = "frontend.is_audible"
"""Name of the value (B, 1) that is 1 for a clip with anything to hear in it, and 0 for silence."""


def write_frontend(writer: GraphWriter, waveform: str, cfg: FrontendConfig, clip_samples: int) -> str:
    """Append the front-end.

    Args:
        writer: The graph.
        waveform: Value (B, clip_samples) float32.
        cfg: Of the checkpoint.
        clip_samples: Samples of a clip.

    Returns:
        Name of the value (B, 1, n_mels, T) float32, standardised natural logarithm of mel power.

    Raises:
        ExportError: If the config asks for other channels than log-mel.
    """
    if cfg.channels != "log-mel":
        raise ExportError(
            f"the checkpoint's frontend.channels={cfg.channels!r} has no ONNX graph: "
            "train with frontend.channels='log-mel'"
        )
    normalised = _normalised(writer, waveform, cfg)
    mel = _mel(writer, _power(writer, normalised, cfg, clip_samples), cfg)
    log = writer.node("Log", [mel], "frontend.log")
    shifted = writer.node(
        "Sub", [log, writer.constant("frontend.log_mean", np.float32(cfg.log_mean))], "frontend.shifted"
    )
    scaled = writer.node(
        "Div", [shifted, writer.constant("frontend.log_std", np.float32(cfg.log_std))], "frontend.scaled"
    )
    axis = writer.constant("frontend.channel_axis", np.array([1]))
    return writer.node("Unsqueeze", [scaled, axis], SPECTROGRAM)


def _normalised(writer: GraphWriter, waveform: str, cfg: FrontendConfig) -> str:
    """Each clip with mean 0 and variance 1; silence as zeros: (B, samples)."""
    mean = writer.node("ReduceMean", [waveform], "frontend.mean", axes=[1], keepdims=1)
    centred = writer.node("Sub", [waveform, mean], "frontend.centred")
    square = writer.node("Mul", [centred, centred], "frontend.square")
    variance = writer.node("ReduceMean", [square], "frontend.variance", axes=[1], keepdims=1)
    silence = writer.constant("frontend.silence", np.float32(10 ** (SILENCE_DBFS / 10)))
    above = writer.node("Greater", [variance, silence], "frontend.above_silence")
    writer.node("Cast", [above], AUDIBLE, to=onnx.TensorProto.FLOAT)
    floor = writer.constant("frontend.variance_floor", np.float32(cfg.waveform_variance_floor))
    deviation = writer.node("Sqrt", [writer.node("Add", [variance, floor], "frontend.floored")], "frontend.deviation")
    return writer.node("Div", [centred, deviation], "frontend.normalised")


def _power(writer: GraphWriter, waveform: str, cfg: FrontendConfig, clip_samples: int) -> str:
    """Power of all frames' bins: (B, n_c P, T), c by c, in which the bin is c + Q d."""
    p, q = _factors(cfg)
    n_frames, n_c = cfg.n_frames(clip_samples), q // 2 + 1
    n_rows = math.ceil(cfg.win_length / p)  # A: a frame is zero beyond its window
    columns = _columns(writer, waveform, cfg, clip_samples, (n_frames - 1) * cfg.hop_length + n_rows * p, p)

    # the window, the transform over a and the turn by c b / N: for each column b its own kernel
    n = np.arange(n_rows * p).reshape(n_rows, p).T  # (P, A)
    window = np.zeros(n.size)
    window[: cfg.win_length] = torch.hann_window(cfg.win_length, periodic=True, dtype=torch.float64).numpy()
    angle = 2 * np.pi / cfg.n_fft * n[:, None] * np.arange(n_c)[None, :, None]  # (P, n_c, A)
    step1 = np.stack([np.cos(angle), -np.sin(angle)], axis=2) * window[n][:, None, None]  # (P, n_c, 2, A)
    partial = writer.node(
        "Conv",
        [columns, writer.constant("frontend.step1", _float(step1.reshape(p * n_c * 2, 1, n_rows)))],
        "frontend.partial",
        group=p,
        kernel_shape=[n_rows],
        strides=[cfg.hop_length // p],
    )  # (B, P n_c 2, T)
    by_c = _reshaped(writer, partial, "frontend.by_b", [-1, p, 2 * n_c, n_frames])
    by_c = writer.node("Transpose", [by_c], "frontend.by_c", perm=[0, 2, 1, 3])  # (B, n_c 2, P, T)
    by_c = _reshaped(writer, by_c, "frontend.by_c_joined", [-1, 2 * n_c * p, n_frames])

    b = np.arange(p)
    angle = 2 * np.pi / p * np.outer(b, b)  # (P of d, P of b)
    cos, sin = np.cos(angle), np.sin(angle)
    squares = []
    for part, mix in (("real", [cos, sin]), ("imaginary", [-sin, cos])):
        step2 = _float(np.tile(np.hstack(mix), (n_c, 1))[:, :, None])  # (n_c P, 2 P, 1)
        value = writer.node(
            "Conv",
            [by_c, writer.constant(f"frontend.step2.{part}", step2)],
            f"frontend.{part}",
            group=n_c,
            kernel_shape=[1],
        )
        squares.append(writer.node("Mul", [value, value], f"frontend.{part}.squared"))
    return writer.node("Add", squares, "frontend.power")


def _columns(writer: GraphWriter, waveform: str, cfg: FrontendConfig, clip_samples: int, length: int, p: int) -> str:
    """At least ``length`` samples in columns: (B, samples) to (B, P, samples / P), sample P i + b at [b, i]."""
    n_samples = clip_samples
    if cfg.centred:
        half = cfg.win_length // 2
        ends = writer.constant("frontend.reflected_samples", np.array([0, half, 0, half]))
        waveform = writer.node("Pad", [waveform, ends], "frontend.reflected", mode="reflect")
        n_samples += 2 * half
    length = max(length, n_samples // p * p)
    if length != n_samples:
        ends = writer.constant("frontend.fitted_samples", np.array([0, 0, 0, length - n_samples]))
        waveform = writer.node("Pad", [waveform, ends], "frontend.fitted")  # a negative number cuts
    rows = _reshaped(writer, waveform, "frontend.rows", [-1, length // p, p])
    return writer.node("Transpose", [rows], "frontend.columns", perm=[0, 2, 1])


def _mel(writer: GraphWriter, power: str, cfg: FrontendConfig) -> str:
    """Mel power (B, M, T), cut off at the floor."""
    p, q = _factors(cfg)
    bank = mel_bank(cfg).double().numpy()  # (M, K)
    weights = np.zeros((cfg.n_mels, q // 2 + 1, p))
    seen = set()
    for c in range(q // 2 + 1):
        for d in range(p):
            k = min(c + q * d, cfg.n_fft - c - q * d)
            if k not in seen:  # the bins of c = 0 and c = Q / 2 come twice
                weights[:, c, d] = bank[:, k]
                seen.add(k)
    kernel = writer.constant("frontend.mel_bank", _float(weights.reshape(cfg.n_mels, -1, 1)))
    mel = writer.node("Conv", [power, kernel], "frontend.mel", kernel_shape=[1])
    return writer.node(
        "Max", [mel, writer.constant("frontend.log_floor", np.float32(cfg.log_floor))], "frontend.audible"
    )


def _factors(cfg: FrontendConfig) -> tuple[int, int]:
    """P, which must divide the hop so that frames start in column 0, and Q = n_fft / P: the cheapest of them."""

    def cost(p: int) -> int:
        n_c = cfg.n_fft // p // 2 + 1
        return 2 * n_c * cfg.win_length + n_c * (2 * p) ** 2

    common = math.gcd(cfg.n_fft, cfg.hop_length)
    p = min((divisor for divisor in range(1, common + 1) if common % divisor == 0), key=cost)
    return p, cfg.n_fft // p


def _reshaped(writer: GraphWriter, x: str, name: str, shape: list[int]) -> str:
    return writer.node("Reshape", [x, writer.constant(f"{name}.shape", np.array(shape))], name)


def _float(values: Array) -> NDArray[np.float32]:
    return values.astype(np.float32)
