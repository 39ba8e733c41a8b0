"""The losses of MT-SLVR. Shapes: N clips, P dimensions; every mean is over the whole (global) batch."""

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy over 2N vectors (Chen et al. 2020, arXiv:2002.05709, eq. 1).

    Args:
        z1: (N, P) projections of the first views.
        z2: (N, P) projections of the second views, in the same order.
        temperature: What cosines are divided by.

    Returns:
        Mean over the 2N rows, in nats; ln(2N - 1) when nothing is told apart.
    """
    n = z1.shape[0]
    z = F.normalize(torch.cat([z1, z2]).float(), dim=1)
    logits = (z @ z.T) / temperature
    logits.fill_diagonal_(float("-inf"))
    target = torch.arange(2 * n, device=z.device).roll(n)  # row i's other view
    return F.cross_entropy(logits, target)


def distil(predicted: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine of (N, P) predictions to what a teacher says, (N, P) of unit length; mean over the clips."""
    return (1.0 - F.cosine_similarity(predicted.float(), target, dim=1)).mean()


def simsiam(z1: Tensor, p1: Tensor, z2: Tensor, p2: Tensor) -> Tensor:
    """Negative cosine of each prediction to the other view's projection, which gets no gradient (arXiv:2011.10566).

    Args:
        z1: (N, P) projections of the first views, and ``p1`` their predictions.
        p1: (N, P).
        z2: (N, P) of the second views, and ``p2`` their predictions.
        p2: (N, P).

    Returns:
        Mean over rows and both directions, in [-1, 1].
    """
    one = F.cosine_similarity(p1.float(), z2.detach().float(), dim=1).mean()
    two = F.cosine_similarity(p2.float(), z1.detach().float(), dim=1).mean()
    return -(one + two) / 2


def mlap(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of the augmentations' presence, mean over rows and labels, in nats.

    A constant predictor reaches 0.683 when one to seven of seven augmentations are drawn evenly: each is there in 4/7.

    Args:
        logits: (rows, labels), row r belonging to clip r mod N.
        labels: (N, labels) of 0 and 1.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), labels.repeat(len(logits) // len(labels), 1).float())
