"""Where the distilled branch's targets come from: published networks asked beforehand, or the network that one adapts.

Shapes: N clips, P dimensions, R sources of targets.
"""

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from train.config import Config
from train.corpus.cache import Cache
from train.errors import ConfigError
from train.network.system import PretrainingSystem
from train.teachers import WindowGrid, load_targets


class TargetSource(Protocol):
    """Answers what a clean clip's targets are."""

    grid: WindowGrid | None
    """Where windows must start for there to be targets; None if anywhere."""

    def __call__(self, clips: Tensor, rows: Tensor) -> Tensor:
        """Targets (R, N, P) of (N, samples) clips whose numbers on the grid are (N,) rows: of unit length, or zeros."""


class TeacherAnswers:
    """What the teachers said about the corpus."""

    def __init__(self, cfg: Config, cache: Cache, teachers: Path | None) -> None:
        """Load the answers of all of the config's teachers.

        Raises:
            ConfigError: If the teachers' folder is not given.
            CorpusError: If there are no complete answers for this cache.
        """
        names, n_dims = cfg.distil.teachers, cfg.distil.n_dims
        if teachers is None:
            raise ConfigError(f"distil.teachers={list(names)} need their files: pass their folder with --teachers")
        self.grid: WindowGrid | None = WindowGrid(cache.clips, cfg.clip_samples, cache.sample_rate)
        self._answers = [
            load_targets(cache, teachers / f"{name}.onnx", cfg.clip_samples, n_dims, domains)
            for name, domains in zip(names, cfg.distil.domains, strict=True)
        ]

    def __call__(self, clips: Tensor, rows: Tensor) -> Tensor:
        """Look the rows up."""
        return torch.stack([answers[rows] for answers in self._answers]).to(clips.device)


class FormerSelf:
    """What the network said before it was adapted: its distilled branch stays what it was (arXiv:1606.09282).

    Somebody who adapts a network has neither the teachers nor the audio it learnt from; all the same the branch must
    follow the trunk, which changes.
    """

    def __init__(self, system: PretrainingSystem) -> None:
        """Keep ``system``, which nobody else may train."""
        self.grid: WindowGrid | None = None
        self._system = system.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, clips: Tensor, rows: Tensor) -> Tensor:
        """Ask the kept network."""
        system = self._system.to(clips.device)
        answers = system.answers(system.backbone.shared(system.frontend(clips)))
        return torch.stack([F.normalize(answer, dim=1) for answer in answers])
