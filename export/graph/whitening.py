"""Embeddings made comparable: the corpus's mean taken out, and its largest directions made smaller.

What most sounds have in common fills an embedding's largest directions and drowns what tells two sounds apart. Each
head's directions are divided by a power of their spread over the corpus, a ridge added; for 1 that is whitening (ZCA,
Bell and Sejnowski 1997, which unlike PCA turns nothing), for 0 nothing. It is linear, and so part of the head's layer.
Shapes: N windows, E outputs of a head.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from export.graph.folding import Array, FoldedNetwork
from export.graph.spectrum import MOVEMENT, SPECTRUM
from train.config import INVARIANT, SENSITIVE

POWERS = {INVARIANT: 1.0, SENSITIVE: 1.0}
"""Of the spread that a head's directions are divided by, chosen by ESC-10 and spoken digits (docs/EXPORT.md)."""
OTHER_POWER = 0.5
"""That of heads that learnt from teachers, whose answers have a measure of their own."""
RIDGE = 0.1
"""What is added to each direction's variance, over the mean variance."""


@dataclass(frozen=True, slots=True)
class Whitening:
    """What an export does with one head's embedding before it is brought to length 1: ``matrix @ x - offset``."""

    matrix: Array
    """(E, E)."""
    offset: Array
    """(E,): what the corpus's mean becomes."""

    @classmethod
    def of(cls, name: str, rows: NDArray[np.floating], power: float | None = None) -> "Whitening":
        """Measured on (N, E) embeddings of a corpus by the head ``name``; ``power`` instead of that head's own."""
        power = POWERS.get(name, OTHER_POWER) if power is None else power
        values = rows.astype(np.float64)
        mean = values.mean(axis=0)
        scale = np.ones(values.shape[1])
        if name in (SPECTRUM, MOVEMENT):  # its parts are in units of their own
            scale = 1.0 / np.maximum(values.std(axis=0), np.finfo(np.float32).eps)
        variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(((values - mean) * scale).T)))
        variances = np.maximum(variances, 0.0)
        spread = np.sqrt(variances + RIDGE * variances.mean() + np.finfo(np.float64).tiny)
        matrix = (axes / (spread / spread.max()) ** power) @ axes.T * scale
        return cls(matrix, matrix @ mean)

    def apply(self, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, E) embeddings as the export gives them, but for their length."""
        return (rows.astype(np.float64) @ self.matrix.T - self.offset).astype(np.float32)


def whiten(network: FoldedNetwork, whitenings: Mapping[str, Whitening]) -> FoldedNetwork:
    """The network whose heads' layers end with the matrices; the offsets are left to be taken out."""
    return replace(
        network,
        heads=tuple(
            replace(
                head, weight=whitenings[head.name].matrix @ head.weight, bias=whitenings[head.name].matrix @ head.bias
            )
            for head in network.heads
        ),
    )
