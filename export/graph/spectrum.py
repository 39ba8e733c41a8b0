"""Two heads that nothing taught: what colours a sound, and how it moves, by its cepstrum.

The mean over the clip, a throat's, a body's, a room's, says who made a sound better than any of the network's branches
can at this size; spread and change tell calls, pitches and speeds apart (docs/EXPORT.md). The mean's first coefficient,
how loud a sound is and how much of the clip it fills, goes with how it moves. Both heads cost next to nothing, as the
graph has the log-mel spectrogram anyway. The cosine transform (DCT-II) is of all bands, so that it loses nothing: it
only makes what is smooth over frequency and what is not two kinds of direction, whose spreads
:mod:`export.graph.whitening` evens out.
Shapes: B clips, M bands, T frames.
"""

import numpy as np
import torch
from torch import Tensor

from export.graph.folding import Array, FoldedHead
from export.graph.graph_writer import GraphWriter

SPECTRUM = "spectrum"
"""Name of the head of colour, and of what both heads start from."""
MOVEMENT = "movement"
"""Name of the other head."""
_LEAST_VARIANCE = 1e-6
"""Added to variances, so that the root of none of them is steep."""


def cosine_basis(n_mels: int) -> Array:
    """The DCT-II of M bands, orthonormal but for its first row: (M, M)."""
    angle = np.pi / n_mels * np.outer(np.arange(n_mels), np.arange(n_mels) + 0.5)
    return np.cos(angle) * np.sqrt(2 / n_mels)


def spectrum_heads(n_mels: int) -> list[FoldedHead]:
    """The heads as they are before whitening: (B, M - 1) and (B, 2 M + 1) of the statistics, unchanged."""
    unchanged = np.eye(3 * n_mels)
    return [
        FoldedHead(name, SPECTRUM, unchanged[columns], np.zeros(len(columns)))
        for name, columns in head_columns(n_mels).items()
    ]


def head_columns(n_mels: int) -> dict[str, list[int]]:
    """Which of the statistics make up each head."""
    return {SPECTRUM: [*range(1, n_mels)], MOVEMENT: [0, *range(n_mels, 3 * n_mels)]}


def spectrum_statistics(spectrogram: Tensor) -> Tensor:
    """Map a log-mel spectrogram (B, 1, M, T) to (B, 3 M): means, standard deviations, and those of differences."""
    basis = torch.from_numpy(cosine_basis(spectrogram.shape[2])).to(spectrogram)
    cepstrum = basis @ spectrogram[:, 0]  # (B, M, T)
    spread = [(x.var(dim=2, unbiased=False) + _LEAST_VARIANCE).sqrt() for x in (cepstrum, cepstrum.diff(dim=2))]
    return torch.cat([cepstrum.mean(dim=2), *spread], dim=1)


def write_statistics(writer: GraphWriter, spectrogram: str, n_mels: int, n_frames: int) -> str:
    """:func:`spectrum_statistics` of the value (B, 1, M, T) as nodes: (B, 3 M)."""
    basis = writer.constant("spectrum.basis", cosine_basis(n_mels).astype(np.float32))
    cepstrum = writer.node("MatMul", [basis, spectrogram], "spectrum.cepstrum")  # (B, 1, M, T)

    def frames(name: str, first: int, end: int) -> str:
        bounds = [writer.constant(f"spectrum.frame.{i}", np.array([i])) for i in (first, end)]
        return writer.node("Slice", [cepstrum, *bounds, writer.constant("spectrum.axis", np.array([3]))], name)

    change = writer.node(
        "Sub", [frames("spectrum.later", 1, n_frames), frames("spectrum.earlier", 0, n_frames - 1)], "spectrum.change"
    )
    mean = writer.node("ReduceMean", [cepstrum], "spectrum.mean", axes=[3], keepdims=1)
    least = writer.constant("spectrum.least_variance", np.float32(_LEAST_VARIANCE))

    def spread(x: str, mean: str, name: str) -> str:
        centred = writer.node("Sub", [x, mean], f"{name}.centred")
        squared = writer.node("Mul", [centred, centred], f"{name}.squared")
        variance = writer.node("ReduceMean", [squared], f"{name}.variance", axes=[3], keepdims=1)
        raised = writer.node("Add", [variance, least], f"{name}.raised")
        return writer.node("Sqrt", [raised], name)

    change_mean = writer.node("ReduceMean", [change], "spectrum.change.mean", axes=[3], keepdims=1)
    parts = [mean, spread(cepstrum, mean, "spectrum.spread"), spread(change, change_mean, "spectrum.movement")]
    joined = writer.node("Concat", parts, "spectrum.joined", axis=2)  # (B, 1, 3 M, 1)
    shape = writer.constant("spectrum.shape", np.array([-1, 3 * n_mels]))
    return writer.node("Reshape", [joined, shape], "spectrum.statistics")
