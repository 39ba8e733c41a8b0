"""Backbone, heads and losses as one module: every system of the paper is a setting of this one."""

import torch
from torch import Tensor, nn

from train.augment.chain import AUGMENTATIONS
from train.config import INVARIANT, SENSITIVE, Config
from train.frontend import make_frontend
from train.network.backbone import Backbone
from train.network.heads import MLAPHead, SimCLRProjector, SimSiamHead
from train.network.losses import distil, mlap, nt_xent, simsiam


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
        answers = self.answers(h)
        cfg = self.cfg.distil
        terms = [
            weight * distil(answer, target, cfg.contrast_weight, cfg.temperature, self.training)
            for answer, target, weight in zip(answers, targets, cfg.teacher_weights, strict=True)
        ]
        return torch.stack(terms).sum()

    def answers(self, h: Tensor) -> list[Tensor]:
        """What each teacher is predicted to say, (N, P), of the clips that :meth:`Backbone.shared` made ``h`` of."""
        assert self.students is not None
        branches = self.cfg.distil.branches
        embeddings = {name: self.backbone.branch(h, self.cfg.model.tasks.index(name)) for name in sorted(set(branches))}
        return [student(embeddings[name]) for student, name in zip(self.students, branches, strict=True)]

    def _contrastive_loss(self, embedding: Tensor, n: int) -> Tensor:
        assert self.contrastive is not None
        if self.cfg.loss.contrastive == "simclr":
            z = self.contrastive(embedding)
            return nt_xent(z[:n], z[n:], self.cfg.loss.temperature, everywhere=self.training)
        z, p = self.contrastive(embedding)
        return simsiam(z[:n], p[:n], z[n:], p[n:])
