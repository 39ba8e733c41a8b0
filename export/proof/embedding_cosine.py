"""How alike two computations of the same embeddings are."""

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray


def row_cosines(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    """Cosine of each row of (n, size) with its counterpart, of unit length or zero: (n,).

    Where both are zero, which stands for silence, they agree: 1. Where one is, 0.
    """
    both_silent = ~(first.any(axis=1) | second.any(axis=1))
    return np.sum(first.astype(np.float64) * second, axis=1) + both_silent
