"""The training loop: batches in, checkpoints and records out; it can be stopped and resumed at any step.

What a step draws follows from the seed, the step and the process alone, so that no state of a generator is carried on:
with model, optimiser and step restored, a resumed run computes what an unbroken one would have.
"""

import logging
import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from train.augment.chain import Augmenter
from train.checkpoint import (
    LAST,
    SUFFIX,
    CheckpointInfo,
    checkpoint_config,
    git_commit,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)
from train.config import Config
from train.corpus.cache import Cache
from train.corpus.sampling import Batch, Sampler
from train.errors import CheckpointError, ConfigError, TrainingError
from train.network.system import PretrainingSystem
from train.run.optimiser import learning_rate, load_optimiser, make_optimiser
from train.run.processes import make_fabric, share_batch_norms
from train.run.records import Records
from train.run.targets import TargetSource

_log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]

MAY_CHANGE = ("max_steps", "checkpoint_every_s", "keep_every", "val_every", "val_batches", "patience")
"""Entries of ``run`` in which a resumed run may differ from the one it goes on with."""


@dataclass(slots=True)
class Progress:
    """Where a run is."""

    step: int = 0
    best_val: float = math.inf
    bad_vals: int = 0
    """Validations since the best one."""
    last_val: float | None = None
    finished: bool = False
    """Whether the run came to its end, rather than being told to stop; never so in a checkpoint."""


class Trainer:
    """One run in one folder: ``metrics.jsonl``, ``tensorboard/`` and checkpoints.

    These are ``last.safetensors``, ``best.safetensors`` (lowest validation loss), and what ``run.keep_every`` keeps.
    """

    def __init__(
        self,
        cfg: Config,
        cache: Cache,
        out: Path,
        device: Device = "auto",
        show_progress: bool = True,
        targets: TargetSource | None = None,
    ) -> None:
        """Set up a run from its first step on.

        Args:
            cfg: All settings.
            cache: The corpus.
            out: Folder of the run.
            device: What to train on.
            show_progress: Whether to draw a bar on stderr.
            targets: Of the distilled branch, if the config has one.

        Raises:
            ConfigError: If the batch cannot be divided between the processes, or the device is missing.
        """
        self.cfg = cfg
        self.cache = cache
        self.out = out
        self.show_progress = show_progress
        self.fabric = make_fabric(device, cfg.run.precision)
        self._check_batch("run.batch_size", cfg.run.batch_size)
        self.n_taught = cfg.distil.batch_size if targets else 0
        if self.n_taught:
            self._check_batch("distil.batch_size", self.n_taught)
        self.targets = targets
        self.sampler = Sampler(cache, cfg, targets.grid if targets else None)
        self.augmenter = Augmenter(cfg.augment, cfg.frontend.sample_rate)
        torch.manual_seed(cfg.run.seed)
        system = PretrainingSystem(cfg)
        if cfg.run.channels_last:
            system = system.to(memory_format=torch.channels_last)
        self.system = system
        if cfg.run.share_batch_norms:
            share_batch_norms(system, self.fabric.device)
        optimiser = make_optimiser(system, cfg.optim, cfg.run.precision)
        if cfg.run.compile:
            system.compile()
        self.model, self.optimiser = self.fabric.setup(system, optimiser)
        self.progress = Progress()
        self.commit = git_commit()
        self._stop = False

    def resume(self) -> None:
        """Go on where ``last.safetensors`` stopped.

        Raises:
            CheckpointError: If it is missing or damaged, or of another config or corpus.
        """
        path = self.out / LAST
        document = read_checkpoint(path)
        if "optimiser" not in document["training"]:
            raise CheckpointError(f"{path} holds weights alone: start a new run from it with `python -m train adapt`")
        saved = checkpoint_config(document, path)
        allowed = {name: getattr(self.cfg.run, name) for name in MAY_CHANGE}
        difference = self.cfg.difference_from(replace(saved, run=replace(saved.run, **allowed)))
        if difference:
            raise CheckpointError(
                f"{path} was trained with {difference}: resume with the same settings, or start anew in another --out"
            )
        if document["info"]["corpus_sha256"] != self.cache.sha256:
            raise CheckpointError(f"{path} was trained on another corpus than {self.cache.folder}: pass the same cache")
        load_weights(self.system, document["model"], path)
        load_optimiser(self.optimiser, document["training"]["optimiser"], path)
        self.fabric.strategy.precision.load_state_dict(document["training"].get("precision", {}))
        self.progress = Progress(**document["training"]["progress"])
        _log.info("resumed at step %d", self.progress.step)

    def run(self) -> Progress:
        """Train up to ``run.max_steps``, or until SIGTERM, SIGINT or ``run.patience`` ends it; leaves a checkpoint.

        Raises:
            TrainingError: If a loss is not finite (the last checkpoint is kept), or a file cannot be written.
        """
        cfg, progress = self.cfg.run, self.progress
        main = self.fabric.is_global_zero
        saved_at, saved_step, told = time.monotonic(), -1, False
        bar = tqdm(
            total=cfg.max_steps,
            initial=progress.step,
            unit="step",
            disable=not (self.show_progress and main),
            desc="training",
        )
        with self._signals(), bar, Records(self.out, progress.step) if main else nullcontext() as records:
            for step, drawn in self._batches(progress.step):
                began = time.perf_counter()
                terms = self._step(step, drawn)
                progress.step = step + 1
                terms["clips_per_s"] = (cfg.batch_size + self.n_taught) / (time.perf_counter() - began)
                if cfg.val_every and progress.step % cfg.val_every == 0:
                    terms.update(self._validate())
                if records:
                    records.write(progress.step, terms)
                bar.set_postfix(loss=f"{terms['loss']:.3f}", clips_s=f"{terms['clips_per_s']:.0f}", refresh=False)
                bar.update()
                if cfg.keep_every and progress.step % cfg.keep_every == 0:
                    self._save(f"step-{progress.step:06d}{SUFFIX}", weights_alone=True)
                told = self._told_to_stop()
                done = told or bool(cfg.patience and progress.bad_vals >= cfg.patience)
                if done or time.monotonic() - saved_at > cfg.checkpoint_every_s:
                    self._save(LAST)
                    saved_at, saved_step = time.monotonic(), progress.step
                if done:
                    _log.info("stopped at step %d", progress.step)
                    break
        if saved_step != progress.step:
            self._save(LAST)
        progress.finished = not told or progress.step >= cfg.max_steps
        return progress

    def _told_to_stop(self) -> bool:
        """Whether any process got a signal: all of them must leave the loop after the same step."""
        if self.fabric.world_size == 1:
            return self._stop
        return self._over_processes(torch.tensor(float(self._stop), device=self.fabric.device), "sum") > 0

    def _over_processes(self, value: Tensor, how: Literal["mean", "sum"]) -> float:
        reduced = self.fabric.all_reduce(value.detach(), reduce_op=how)
        assert isinstance(reduced, Tensor)
        return float(reduced)

    def _check_batch(self, name: str, size: int) -> None:
        n_parts = self.fabric.world_size * self.cfg.run.accumulate
        if size % n_parts or size // n_parts < 2:
            raise ConfigError(
                f"{name}={size} cannot be divided among {self.fabric.world_size} processes of "
                f"run.accumulate={self.cfg.run.accumulate} parts with 2 clips each: use a multiple of {n_parts}, from "
                f"{2 * n_parts} on"
            )

    def _losses(self, model: nn.Module, batch: Batch, taught: Batch, seed: int) -> dict[str, Tensor]:
        """Augment the clips of a batch, and those that the teachers were asked about, and compute their losses."""
        cfg = self.cfg.distil
        degraded = targets = None
        with torch.no_grad():
            clips = batch.clips if self.cfg.learns_from_views else batch.clips[:0]
            views, labels = self.augmenter.two_views(clips.to(self.fabric.device, non_blocking=True), seed)
            if self.targets is not None:
                clips = taught.clips.to(self.fabric.device, non_blocking=True)
                targets = self.targets(clips, taught.rows)
                mixed = self.augmenter.mix(clips, cfg.mix_probability, cfg.mix_snr_db, seed + 2)
                heard = self.augmenter.through_channels(mixed, cfg.channel_probability, seed + 3)
                degraded = self.augmenter.some(heard, cfg.augmentations, seed + 1)
        return model(views, labels, degraded, targets)

    def _draw(self, step: int) -> tuple[Batch, Batch]:
        """This process's share of the clips of a step, and of those that the teachers were asked about."""
        part, n_parts = self.fabric.global_rank, self.fabric.world_size
        batch = self.sampler.batch(step, self.cfg.run.batch_size, part, n_parts)
        if not self.n_taught:
            return batch, batch
        return batch, self.sampler.batch(step, self.n_taught, part, n_parts, stream=1)

    def _batches(self, first: int) -> Iterator[tuple[int, tuple[Batch, Batch]]]:
        """Step and clips, the next step's being read while the present one computes."""
        last = self.cfg.run.max_steps
        with ThreadPoolExecutor(max_workers=1) as pool:
            pending = pool.submit(self._draw, first)
            for step in range(first, last):
                drawn = pending.result()
                if step + 1 < last:
                    pending = pool.submit(self._draw, step + 1)
                yield step, drawn

    def _step(self, step: int, drawn: tuple[Batch, Batch]) -> dict[str, float]:
        cfg = self.cfg
        rate = learning_rate(step, cfg.optim, cfg.run.max_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        n_parts = cfg.run.accumulate
        for number, (batch, taught) in enumerate(zip(*(both.split(n_parts) for both in drawn), strict=True)):
            seed = step_seed(cfg.run.seed, step, self.fabric.global_rank * n_parts + number)
            with self.fabric.no_backward_sync(self.model, enabled=number + 1 < n_parts):
                losses = self._losses(self.model, batch, taught, seed)
                self.fabric.backward(losses["loss"] / n_parts)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + self._over_processes(value, "mean") / n_parts
        if not math.isfinite(sums["loss"]):
            raise TrainingError(
                f"the loss at step {step + 1} is {sums['loss']}: lower optim.lr={cfg.optim.lr} or use "
                f"run.precision='fp32'; the last checkpoint, {self.out / LAST}, is kept"
            )
        norm = self.fabric.clip_gradients(
            self.model, self.optimiser, max_norm=cfg.optim.clip_norm or math.inf, error_if_nonfinite=False
        )
        self.optimiser.step()
        return {**sums, "grad_norm": float(norm) if isinstance(norm, Tensor) else 0.0, "lr": rate}

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Losses on the fixed validation clips with fixed augmentations; keeps the best weights."""
        cfg = self.cfg.run
        n_clips = min(cfg.batch_size, len(self.sampler.validation))
        if n_clips < 2:
            return {}
        self.system.eval()
        sums: dict[str, float] = {}
        n_batches = 0
        for number in range(cfg.val_batches):
            batch = self.sampler.validation_batch(number, n_clips)
            if batch is None:
                break
            losses = self._losses(self.system, batch, batch, step_seed(cfg.seed, 2**32, number))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            n_batches += 1
        means = {f"val_{name}": value / n_batches for name, value in sums.items()}
        self.progress.last_val = means["val_loss"]
        if means["val_loss"] < self.progress.best_val:
            self.progress.best_val, self.progress.bad_vals = means["val_loss"], 0
            self._save(f"best{SUFFIX}")
        else:
            self.progress.bad_vals += 1
        return means

    def _save(self, name: str, weights_alone: bool = False) -> None:
        """Write a checkpoint; every process must call this, the first one writes."""
        if not self.fabric.is_global_zero:
            return
        progress = self.progress
        save_checkpoint(
            self.out / name,
            info=CheckpointInfo(
                step=progress.step,
                git_commit=self.commit,
                config_sha256=self.cfg.sha256(),
                corpus_sha256=self.cache.sha256,
                val_loss=progress.last_val,
            ),
            config=self.cfg,
            model=self.system.state_dict(),
            training={} if weights_alone else self._state(),
        )

    def _state(self) -> dict[str, Any]:
        """What only a resumed run needs."""
        progress = {field: getattr(self.progress, field) for field in Progress.__dataclass_fields__}
        return {
            "optimiser": self.optimiser.state_dict(),
            "progress": progress,
            "precision": self.fabric.strategy.precision.state_dict(),  # of float16: how gradients are scaled
        }

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the run after the present step."""

        def stop(number: int, _frame: object) -> None:
            _log.info("%s: finishing the step", signal.Signals(number).name)
            self._stop = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def step_seed(seed: int, step: int, part: int) -> int:
    """Seed of the augmentations of one part of one step's batch."""
    return int(np.random.SeedSequence((seed, step, part)).generate_state(1, np.uint64)[0] >> 1)
