"""Starting runs: pretraining from nothing, or adapting a trained network to somebody's own audio."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from train.checkpoint import LAST, checkpoint_config, load_weights, read_checkpoint
from train.config import DISTILLED, Config, config_from_dict
from train.corpus.cache import Cache
from train.errors import ConfigError, TrainingError
from train.network.system import PretrainingSystem
from train.run.loop import Device, Progress, Trainer
from train.run.targets import FormerSelf, TeacherAnswers

_log = logging.getLogger(__name__)

_OF_A_TASK = re.compile(r"^backbone\..*?\b(?:norms|parallel|series|heads)\.(?P<task>\d+)\.")
"""Names of weights that each task has of its own."""

ADAPTABLE = ("data", "augment", "optim", "run")
"""Sections that adapting may set anew; the others belong to the network."""


def pretrain(
    cfg: Config,
    cache_folder: Path,
    out: Path,
    *,
    resume: bool,
    device: Device = "auto",
    show_progress: bool = True,
    teachers: Path | None = None,
    verify: bool = True,
    start_from: Path | None = None,
) -> Progress:
    """Start or resume a run, having compared the cache with its checksums unless ``verify`` is off.

    ``start_from`` is a checkpoint whose weights a new run starts from; heads that answer as other teachers do, which
    it lacks, start afresh.

    Raises:
        CheckpointError: If ``start_from`` is missing or damaged, or of another architecture.
        TrainingError: If ``out`` holds a run and ``resume`` is not set.
    """
    _refuse_to_overwrite(out, resume)
    cache = Cache(cache_folder, verify)
    targets = TeacherAnswers(cfg, cache, teachers) if cfg.distil.teachers else None
    trainer = Trainer(cfg, cache, out, device, show_progress, targets)
    if resume and (out / LAST).exists():
        trainer.resume()
    elif start_from is not None:
        document = read_checkpoint(start_from)
        weights = weights_to_start_from(document, checkpoint_config(document, start_from), trainer.system)
        load_weights(trainer.system, weights, start_from)
    return trainer.run()


def weights_to_start_from(document: dict[str, Any], trained: Config, system: PretrainingSystem) -> dict[str, Tensor]:
    """A checkpoint's weights for a network that may learn from other teachers, or on more branches.

    Heads that answer as other teachers do start afresh; a branch that the checkpoint lacks starts as a copy of the one
    that learns from teachers.
    """
    weights: dict[str, Tensor] = dict(document["model"])
    cfg, own = system.cfg, system.state_dict()
    if trained.distil.teachers != cfg.distil.teachers:
        weights = {name: value for name, value in weights.items() if not name.startswith("students.")}
        weights |= {name: value for name, value in own.items() if name.startswith("students.")}
    if DISTILLED in trained.model.tasks and trained.model.tasks == cfg.model.tasks[: len(trained.model.tasks)]:
        like = trained.model.tasks.index(DISTILLED)
        for name in own:
            found = _OF_A_TASK.search(name)
            if name not in weights and found and int(found["task"]) >= len(trained.model.tasks):
                source = f"{name[: found.start('task')]}{like}{name[found.end('task') :]}"
                weights[name] = weights[source]
    return weights


def adapt(
    checkpoint: Path,
    settings: dict[str, Any],
    cache_folder: Path,
    out: Path,
    *,
    resume: bool,
    device: Device = "auto",
    show_progress: bool = True,
) -> Progress:
    """Go on from a trained network, heads included, with other audio; the optimiser starts afresh.

    Args:
        checkpoint: Of a run, or of weights alone.
        settings: Sections in :data:`ADAPTABLE` as in a TOML file; what they leave out stays as in the checkpoint.
        cache_folder: The other audio, decoded.
        out: Folder of the new run.
        resume: Whether to go on with a run in ``out``.
        device: What to train on.
        show_progress: Whether to draw a bar on stderr.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged, or of another architecture than it says.
        ConfigError: If ``settings`` touch the network, or are wrong.
        TrainingError: If ``out`` holds a run and ``resume`` is not set.
    """
    _refuse_to_overwrite(out, resume)
    document = read_checkpoint(checkpoint)
    cache = Cache(cache_folder)
    cfg = fit_batch(adapted_config(checkpoint_config(document, checkpoint), settings), cache)
    targets = None
    if cfg.distil.teachers:
        former = PretrainingSystem(cfg)
        load_weights(former, document["model"], checkpoint)
        targets = FormerSelf(former)
    trainer = Trainer(cfg, cache, out, device, show_progress, targets)
    if resume and (out / LAST).exists():
        trainer.resume()
    else:
        load_weights(trainer.system, document["model"], checkpoint)
    return trainer.run()


def adapted_config(trained: Config, settings: dict[str, Any]) -> Config:
    """The checkpoint's config with other settings for what may be set anew.

    Raises:
        ConfigError: If a setting is unknown, wrong, or belongs to the network.
    """
    merged = trained.to_dict()
    for section, values in settings.items():
        if section not in ADAPTABLE:
            raise ConfigError(f"[{section}] belongs to the network and stays as it is: set only {', '.join(ADAPTABLE)}")
        if section == "data" and values.get("clip_s", trained.data.clip_s) != trained.data.clip_s:
            raise ConfigError(
                f"data.clip_s={values['clip_s']} must stay {trained.data.clip_s}, as the network was trained"
            )
        merged[section] = {**merged[section], **values}
    return config_from_dict(merged)


def fit_batch(cfg: Config, cache: Cache) -> Config:
    """Make the batch no larger than the corpus: a clip that is drawn twice would be its own negative."""
    size = min(cfg.run.batch_size, len(cache.clips))
    size -= size % cfg.run.accumulate
    if size == cfg.run.batch_size or size // cfg.run.accumulate < 2:
        return cfg
    _log.warning("only %d clips: run.batch_size is %d instead of %d", len(cache.clips), size, cfg.run.batch_size)
    return replace(cfg, run=replace(cfg.run, batch_size=size))


def _refuse_to_overwrite(out: Path, resume: bool) -> None:
    if not resume and (out / LAST).exists():
        raise TrainingError(f"{out} holds a run already: go on with --resume, or choose another --out")
    if (out / "last.pt").exists() and not (out / LAST).exists():
        raise TrainingError(f"{out} holds a run of an earlier version, which kept it in last.pt: choose another --out")
