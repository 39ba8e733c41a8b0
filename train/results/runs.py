"""The paper's variants as runs that differ in nothing else: one trunk, the same steps, clips, views and seed."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from train.checkpoint import LAST, checkpoint_config, read_checkpoint
from train.config import INVARIANT, SENSITIVE, Config, Contrastive, Variant
from train.errors import TrainingError
from train.run.start import pretrain

_log = logging.getLogger(__name__)

BOTH = (INVARIANT, SENSITIVE)


@dataclass(frozen=True, slots=True)
class VariantRun:
    """One run."""

    name: str
    """As in the paper's tables."""
    variant: Variant
    tasks: tuple[str, ...]
    contrastive: Contrastive

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        return f"{self.contrastive}-{self.name.lower().replace(' ', '-')}"

    def config(self, base: Config) -> Config:
        """``base`` with this run's variant; an embedding that all tasks share is as wide as two that they do not."""
        n_heads = 1 if self.variant == "none" else len(self.tasks)
        model = replace(
            base.model, variant=self.variant, tasks=self.tasks, head_dim=base.model.head_dim * len(BOTH) // n_heads
        )
        return replace(base, model=model, loss=replace(base.loss, contrastive=self.contrastive))


RUNS = (
    VariantRun("Cont Only", "none", (INVARIANT,), "simclr"),
    VariantRun("Pred Only", "none", (SENSITIVE,), "simclr"),
    VariantRun("MT-Simple", "none", BOTH, "simclr"),
    VariantRun("MT-Split", "split", BOTH, "simclr"),
    VariantRun("MT-Bn", "bn", BOTH, "simclr"),
    VariantRun("MT-Series", "series", BOTH, "simclr"),
    VariantRun("MT-Parallel", "parallel", BOTH, "simclr"),
    VariantRun("Cont Only", "none", (INVARIANT,), "simsiam"),
    VariantRun("MT-Parallel", "parallel", BOTH, "simsiam"),
)
"""In the order of the paper's tables. Prediction alone has no contrastive loss: one run stands in both tables."""


def train_all(base: Config, cache: Path, out: Path, *, show_progress: bool = True) -> None:
    """Train what is not there yet, one run after the other.

    Args:
        base: Settings that all runs share.
        cache: The corpus.
        out: Gets a folder for each run.
        show_progress: Whether to draw a bar on stderr.

    Raises:
        TrainingError: If a run was told to stop.
        CheckpointError: If a folder holds a run with other settings or of another corpus.
    """
    missing = [run for run in RUNS if not _is_done(out / run.folder / LAST, run.config(base))]
    for run in missing:
        _log.info("training %s with %s", run.name, run.contrastive)
        folder, verify = out / run.folder, run is missing[0]
        progress = pretrain(
            run.config(base), cache, folder, resume=True, device="cpu", show_progress=show_progress, verify=verify
        )
        if progress.step < base.run.max_steps:
            raise TrainingError(f"stopped at step {progress.step} of {folder}: the same command goes on from there")


def _is_done(checkpoint: Path, config: Config) -> bool:
    if not checkpoint.is_file():
        return False
    document = read_checkpoint(checkpoint)
    same = checkpoint_config(document, checkpoint) == config
    return same and bool(document["info"]["step"] == config.run.max_steps)
