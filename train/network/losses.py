"""The losses of MT-SLVR. Shapes: N clips of this process, P dimensions."""

import torch
from torch import Tensor
from torch.nn import functional as F

from train.run.processes import gather_rows, rank


def nt_xent(z1: Tensor, z2: Tensor, temperature: float, everywhere: bool = True) -> Tensor:
    """Normalised temperature-scaled cross-entropy over 2N vectors (Chen et al. 2020, arXiv:2002.05709, eq. 1).

    Args:
        z1: (N, P) projections of the first views.
        z2: (N, P) projections of the second views, in the same order.
        temperature: What cosines are divided by.
        everywhere: Whether negatives come from all processes, if there are several.

    Returns:
        Mean over this process's 2N rows, in nats; ln(2N - 1) when nothing is told apart (N of all processes).
    """
    n = z1.shape[0]
    one, two = F.normalize(z1.float(), dim=1), F.normalize(z2.float(), dim=1)
    all_one, all_two = (gather_rows(one), gather_rows(two)) if everywhere else (one, two)
    n_all = len(all_one)
    mine = torch.arange(n, device=z1.device) + (rank() * n if n_all > n else 0)
    rows = torch.cat([mine, mine + n_all])  # where this process's vectors are among all
    with torch.autocast(z1.device.type, enabled=False):  # cosines over 0.07 need more than half precision
        logits = (torch.cat([one, two]) @ torch.cat([all_one, all_two]).T) / temperature  # (2N, 2N of all)
    logits = logits.scatter(1, rows[:, None], float("-inf"))
    return F.cross_entropy(logits, (rows + n_all) % (2 * n_all))  # each row's other view


def distil(
    predicted: Tensor, target: Tensor, contrast_weight: float = 0.0, temperature: float = 0.07, everywhere: bool = True
) -> Tensor:
    """One minus the cosine of predictions to what a teacher says, and whether they tell its answers apart as it does.

    The second term is that of SEED (arXiv:2101.04731, eq. 4): how likely a prediction takes the answers to the clips of
    the batch for its own, by their cosines, is to be as likely as the teacher's own answer takes them; in nats, the
    cross-entropy less the least it can be. The cosine alone is content with what most answers have in common.

    Args:
        predicted: (N, P).
        target: (N, P) of unit length; zeros where the teacher was not asked.
        contrast_weight: Factor of the second term.
        temperature: What its cosines are divided by.
        everywhere: Whether the answers to choose from are those of all processes, if there are several.

    Returns:
        Mean over this process's clips; those that the teacher was not asked about count as zero.
    """
    target = target.float()
    n, asked = len(target), target.any(dim=1)
    with torch.autocast(predicted.device.type, enabled=False):
        own = F.normalize(predicted.float(), dim=1)[asked]
        loss = len(own) - (own * target[asked]).sum()
        if contrast_weight > 0.0:
            answers = gather_rows(target) if everywhere else target
            answers = answers[answers.any(dim=1)]
            predicted_log = F.log_softmax(own @ answers.T / temperature, dim=1)
            wanted_log = F.log_softmax(target[asked] @ answers.T / temperature, dim=1)
            loss = loss + contrast_weight * F.kl_div(predicted_log, wanted_log, reduction="sum", log_target=True)
    return loss / n


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
