"""The log-mel front-end as matrix products: the same numbers as :class:`train.frontend.LogMel`, in any ONNX runtime.

The transform of a frame is computed as Cooley and Tukey (1965) do, in two steps, with n = P a + b and k = c + Q d:

    X[c + Q d] = sum_b  exp(-2 pi i (c / N + d / P) b)  *  sum_a x[P a + b] exp(-2 pi i a c / Q),     N = P Q

The frame is real, so that c from 0 to Q / 2 is enough. For N = 1024 these are two products with 0.09 million
multiplications a frame instead of one with 0.66 million.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from export.errors import ExportError
from export.graph_writer import GraphWriter
from train.config import FrontendConfig
from train.frontend import mel_bank

Array = NDArray[np.float64]


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
    log_mel = _log_mel(writer, _power(writer, _normalised(writer, waveform, cfg), cfg, clip_samples), cfg)
    n_frames = cfg.n_frames(clip_samples)
    shape = writer.constant("frontend.mel_shape", np.array([-1, n_frames, 1, cfg.n_mels]))
    by_frame = writer.node("Reshape", [log_mel, shape], "frontend.by_frame")  # (B, T, 1, M)
    return writer.node("Transpose", [by_frame], "frontend.log_mel", perm=[0, 2, 3, 1])


def _normalised(writer: GraphWriter, waveform: str, cfg: FrontendConfig) -> str:
    """Each clip with mean 0 and variance 1; silence as zeros: (B, samples)."""
    mean = writer.node("ReduceMean", [waveform], "frontend.mean", axes=[1], keepdims=1)
    centred = writer.node("Sub", [waveform, mean], "frontend.centred")
    square = writer.node("Mul", [centred, centred], "frontend.square")
    variance = writer.node("ReduceMean", [square], "frontend.variance", axes=[1], keepdims=1)
    floor = writer.constant("frontend.variance_floor", np.float32(cfg.waveform_variance_floor))
    deviation = writer.node("Sqrt", [writer.node("Add", [variance, floor], "frontend.floored")], "frontend.deviation")
    return writer.node("Div", [centred, deviation], "frontend.normalised")


def _power(writer: GraphWriter, waveform: str, cfg: FrontendConfig, clip_samples: int) -> str:
    """Power of all bins of all frames, grouped by c: (Q // 2 + 1, B T, P), in which k = c + Q d."""
    p, q = _factors(cfg.n_fft)
    n_rows = math.ceil(cfg.win_length / p)  # values of a: the frame is zero beyond its window
    n_frames = cfg.n_frames(clip_samples)
    n_c = q // 2 + 1
    frames = writer.constant("frontend.frame_samples", _frame_samples(cfg, clip_samples, p, n_rows))
    framed = writer.node("Gather", [waveform, frames], "frontend.framed", axis=1)  # (B, T P, A)
    window = np.zeros(p * n_rows)
    window[: cfg.win_length] = torch.hann_window(cfg.win_length, periodic=True, dtype=torch.float64).numpy()
    tiled = np.tile(window.reshape(n_rows, p).T, (n_frames, 1))  # (T P, A)
    windowed = writer.node("Mul", [framed, writer.constant("frontend.window", _float(tiled))], "frontend.windowed")

    angle = 2 * np.pi / q * np.outer(np.arange(n_rows), np.arange(n_c))  # (A, n_c)
    step1 = writer.constant("frontend.step1", _float(np.hstack([np.cos(angle), -np.sin(angle)])))
    partial = writer.node("MatMul", [windowed, step1], "frontend.partial")  # (B, T P, 2 n_c)
    shape = writer.constant("frontend.partial_shape", np.array([-1, p, 2, n_c]))
    split = writer.node("Reshape", [partial, shape], "frontend.split")  # (B T, P, 2, n_c)
    by_c = writer.node("Transpose", [split], "frontend.by_c", perm=[3, 0, 2, 1])  # (n_c, B T, 2, P)
    shape = writer.constant("frontend.by_c_shape", np.array([n_c, -1, 2 * p]))
    joined = writer.node("Reshape", [by_c, shape], "frontend.joined")

    b = np.arange(p)
    angle = 2 * np.pi * b[None, :, None] * (np.arange(n_c)[:, None, None] / cfg.n_fft + b[None, None, :] / p)
    cos, sin = np.cos(angle), np.sin(angle)  # (n_c, P of b, P of d)
    step2 = np.concatenate([np.concatenate([cos, -sin], axis=2), np.concatenate([sin, cos], axis=2)], axis=1)
    spectrum = writer.node("MatMul", [joined, writer.constant("frontend.step2", _float(step2))], "frontend.spectrum")
    return writer.node(
        "Mul", [spectrum, spectrum], "frontend.power"
    )  # (n_c, B T, 2 P): real and imaginary part squared


def _log_mel(writer: GraphWriter, power: str, cfg: FrontendConfig) -> str:
    """Standardised logarithm of mel power: (B T, M)."""
    p, q = _factors(cfg.n_fft)
    bank = mel_bank(cfg).double().numpy()  # (M, K)
    weights = np.zeros((q // 2 + 1, p, cfg.n_mels))
    seen = set()
    for c in range(q // 2 + 1):
        for d in range(p):
            k = c + q * d
            k = min(k, cfg.n_fft - k)
            if k not in seen:  # the bins of c = 0 and c = Q / 2 come twice
                weights[c, d] = bank[:, k]
                seen.add(k)
    weights = np.concatenate([weights, weights], axis=1)  # (n_c, 2 P, M)
    parts = writer.node("MatMul", [power, writer.constant("frontend.mel_bank", _float(weights))], "frontend.mel_parts")
    axis = writer.constant("frontend.first_axis", np.array([0]))
    mel = writer.node("ReduceSum", [parts, axis], "frontend.mel", keepdims=0)  # (B T, M)
    floored = writer.node(
        "Max", [mel, writer.constant("frontend.log_floor", np.float32(cfg.log_floor))], "frontend.audible"
    )
    log = writer.node("Log", [floored], "frontend.log")
    shifted = writer.node(
        "Sub", [log, writer.constant("frontend.log_mean", np.float32(cfg.log_mean))], "frontend.shifted"
    )
    return writer.node(
        "Div", [shifted, writer.constant("frontend.log_std", np.float32(cfg.log_std))], "frontend.scaled"
    )


def _factors(n_fft: int) -> tuple[int, int]:
    """P and Q = n_fft / P, as near each other as can be."""
    p = max(divisor for divisor in range(1, math.isqrt(n_fft) + 1) if n_fft % divisor == 0)
    return p, n_fft // p


def _frame_samples(cfg: FrontendConfig, clip_samples: int, p: int, n_rows: int) -> NDArray[np.int64]:
    """Which sample of the clip is sample P a + b of frame t: (T P, A); beyond the window any will do."""
    first = np.arange(cfg.n_frames(clip_samples)) * cfg.hop_length  # (T,)
    within = np.minimum(np.arange(p)[:, None] + p * np.arange(n_rows)[None, :], cfg.win_length - 1)  # (P, A)
    samples = first[:, None, None] + within[None]
    if cfg.centred:
        samples = np.abs(samples - cfg.win_length // 2)  # reflected at the start
        samples = np.minimum(samples, 2 * (clip_samples - 1) - samples)  # and at the end
    return samples.reshape(-1, n_rows)


def _float(values: Array) -> NDArray[np.float32]:
    return values.astype(np.float32)
