"""Backbone, heads and losses as one module: every system of the paper is a setting of this one."""

import torch
from torch import Tensor, nn

from train.augment.chain import AUGMENTATIONS
from train.config import INVARIANT, SENSITIVE, Config
from train.frontend import make_frontend
from train.network.backbone import Backbone
from train.network.heads import MLAPHead, SimCLRProjector, SimSiamHead
from train.network.losses import distil, mlap, nt_xent, simsiam
from train.run.processes import gather_rows, rank

_ROWS_AT_A_TIME = 16
"""A branch that computes some of the rows computes a multiple of this many: oneDNN makes kernels anew for each size."""


class PretrainingSystem(nn.Module):
    """``L = L_cont + lambda * L_MLAP`` of two augmented views.

    The invariant task is taught by the contrastive loss, the sensitive task by augmentation prediction. A system with
    one of them is the paper's contrastive-only or prediction-only baseline. Both views go through the network together,
    so that batch statistics are over both.
    """

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.frontend = make_frontend(cfg.frontend)
        self.backbone = Backbone(cfg.model, cfg.frontend.n_channels)
        self.contrastive: nn.Module | None = None
        self.predictive: nn.Module | None = None
        dim = cfg.model.head_dim
        if INVARIANT in cfg.model.tasks:
            if cfg.loss.contrastive == "simclr":
                self.contrastive = SimCLRProjector(dim, cfg.loss.projector_dim)
            else:
                self.contrastive = SimSiamHead(dim)
        self.students: nn.ModuleList | None = None
        if cfg.distil.teachers:
            self.students = nn.ModuleList(nn.Linear(dim, cfg.distil.n_dims) for _ in cfg.distil.teachers)
        if SENSITIVE in cfg.model.tasks:
            self.predictive = MLAPHead(dim, len(AUGMENTATIONS))

    def forward(
        self, views: Tensor, labels: Tensor, taught: Tensor | None = None, targets: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            views: (2N, samples) float32 waveforms, the N first views and then the N second ones.
            labels: (N, 7) presence of each augmentation.
            taught: (N, samples) float32 waveforms from which the teachers' answers are predicted.
            targets: (n_teachers, N, P) float32 of unit length, the teachers' answers.

        Returns:
            ``loss`` and its terms ``contrastive``, ``mlap``, ``distil`` (those that the system has), scalars.
        """
        cfg = self.cfg
        n = len(labels)
        with torch.no_grad(), torch.autocast(views.device.type, enabled=False):
            x = self.frontend(views if taught is None else torch.cat([views, taught]))
        if cfg.run.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        h = self.backbone.shared(x)
        losses: dict[str, Tensor] = {}
        total = h.new_zeros((), dtype=torch.float32)
        if self.contrastive is not None:
            embedding = self.backbone.branch(h[: 2 * n], cfg.model.tasks.index(INVARIANT))
            losses["contrastive"] = self._contrastive_loss(embedding, n)
            total = total + losses["contrastive"]
        if self.predictive is not None:
            part = h[: cfg.loss.mlap_views * n]
            embedding = self.backbone.branch(part, cfg.model.tasks.index(SENSITIVE))
            losses["mlap"] = mlap(self.predictive(embedding), labels)
            total = total + cfg.loss.mlap_weight * losses["mlap"]
        if self.students is not None and targets is not None:
            losses["distil"] = self._distil_loss(h[2 * n :], targets)
            total = total + cfg.distil.weight * losses["distil"]
        return {"loss": total, **losses}

    def _distil_loss(self, h: Tensor, targets: Tensor) -> Tensor:
        """Weighted sum over the teachers, each on its branch."""
        answers = self.answers(h, targets.any(dim=2))
        cfg = self.cfg.distil
        terms = [
            weight * distil(answer, target, cfg.contrast_weight, cfg.temperature, self.training)
            for answer, target, weight in zip(answers, targets, cfg.teacher_weights, strict=True)
        ]
        return torch.stack(terms).sum()

    def answers(self, h: Tensor, asked: Tensor | None = None) -> list[Tensor]:
        """What each teacher is predicted to say of the clips that :meth:`Backbone.shared` made ``h`` of.

        Args:
            h: Of N clips.
            asked: (n_teachers, N) bool, the clips that each teacher's answer is wanted for; all of them if not given.

        Returns:
            (N, P) for each teacher. A branch computes the clips that some teacher of it is asked about, a few more to
            have a round number, and zeros for the others.
        """
        assert self.students is not None
        branches = self.cfg.distil.branches
        found: list[Tensor] = [h] * len(branches)
        for name in sorted(set(branches)):
            mine = [i for i, branch in enumerate(branches) if branch == name]
            rows = None
            if asked is not None:
                # Where batch norms are taken over all processes, these compute together what one would.
                rows = rows_to_compute(asked[mine].any(dim=0), self.training and self.cfg.run.share_batch_norms)
            part = h if rows is None else _select(h, rows)
            embedding = self.backbone.branch(part, self.cfg.model.tasks.index(name))
            for i in mine:
                answer = self.students[i](embedding)
                found[i] = (
                    answer if rows is None else answer.new_zeros(len(h), answer.shape[1]).index_copy(0, rows, answer)
                )
        return found

    def _contrastive_loss(self, embedding: Tensor, n: int) -> Tensor:
        assert self.contrastive is not None
        if self.cfg.loss.contrastive == "simclr":
            z = self.contrastive(embedding)
            return nt_xent(z[:n], z[n:], self.cfg.loss.temperature, everywhere=self.training)
        z, p = self.contrastive(embedding)
        return simsiam(z[:n], p[:n], z[n:], p[n:])


def _select(h: Tensor, rows: Tensor) -> Tensor:
    """``h[rows]`` in the memory layout of ``h``, its gradient too."""
    if h.ndim == 4 and h.is_contiguous(memory_format=torch.channels_last):
        return h.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return h.index_select(0, rows)


def rows_to_compute(wanted: Tensor, everywhere: bool) -> Tensor | None:
    """Those of this process's rows that a branch computes; None for all of them.

    Args:
        wanted: (N,) bool, the rows whose embedding is wanted.
        everywhere: Whether to round the number of rows of all processes together, if there are several.

    Returns:
        Ascending indices of the rows that are wanted, and of the first others up to a multiple of ``_ROWS_AT_A_TIME``.
    """
    n = len(wanted)
    wanted = gather_rows(wanted.float()) if everywhere else wanted.float()
    n_rows = max(1, -(-int(wanted.sum()) // _ROWS_AT_A_TIME)) * _ROWS_AT_A_TIME
    if n_rows >= len(wanted):
        return None
    rows = wanted.argsort(descending=True, stable=True)[:n_rows] - (rank() * n if everywhere else 0)
    return rows[(rows >= 0) & (rows < n)].sort().values
