"""Two heads that nothing taught: the cepstrum's mean over the clip, and its spread and movement.

What colours a sound, a throat, a body, a room, says who made it better than any of the network's branches can at this
size, and how it moves tells calls, pitches and speeds apart (docs/EXPORT.md). Both cost next to nothing, as the graph
has the log-mel spectrogram anyway. The cosine transform (DCT-II) is of all bands, so that it loses nothing: it only
makes what is smooth over frequency and what is not two kinds of direction, whose spreads
:mod:`export.graph.whitening` evens out.
Shapes: B clips, M bands, T frames.
"""

import numpy as np
import torch
from torch import Tensor

from export.graph.folding import Array, FoldedHead
from export.graph.graph_writer import GraphWriter

SPECTRUM = "spectrum"
"""Name of the head of the means, and of what both start from."""
MOVEMENT = "movement"
"""Name of the head of the spreads."""
_LEAST_VARIANCE = 1e-6
"""Added to variances, so that the root of none of them is steep."""


def cosine_basis(n_mels: int) -> Array:
    """The DCT-II of M bands, orthonormal but for its first row: (M, M)."""
    angle = np.pi / n_mels * np.outer(np.arange(n_mels), np.arange(n_mels) + 0.5)
    return np.cos(angle) * np.sqrt(2 / n_mels)


def spectrum_heads(n_mels: int) -> list[FoldedHead]:
    """The heads as they are before whitening: (B, M) and (B, 2 M) of the statistics, unchanged."""
    mean, spreads = np.split(np.eye(3 * n_mels), [n_mels])
    parts = {SPECTRUM: mean, MOVEMENT: spreads}
    return [FoldedHead(name, SPECTRUM, rows, np.zeros(len(rows))) for name, rows in parts.items()]


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
