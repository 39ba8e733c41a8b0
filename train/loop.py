"""The training loop: batches in, checkpoints and metrics out; it can be stopped and resumed at any step."""

import json
import logging
import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from train.augment.chain import Augmenter
from train.checkpoint import (
    CheckpointInfo,
    checkpoint_config,
    git_commit,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)
from train.config import Config, OptimConfig
from train.corpus.cache import Cache
from train.corpus.sampling import Batch, Sampler
from train.errors import CheckpointError, ConfigError, TrainingError
from train.files import replace_file
from train.system import PretrainingSystem
from train.teachers import WindowGrid, load_targets

_log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]

PRECISIONS: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
MAY_CHANGE = ("max_steps", "checkpoint_every_s", "val_every", "val_batches", "patience")
"""Entries of ``run`` in which a resumed run may differ from the one it goes on with."""


def learning_rate(step: int, cfg: OptimConfig, max_steps: int) -> float:
    """Rate of step ``step`` (from 0 on): a straight line up to ``lr``, then half a cosine (arXiv:1608.03983, eq. 5)."""
    if step < cfg.warmup_steps:
        return cfg.lr * (step + 1) / cfg.warmup_steps
    progress = min(1.0, (step - cfg.warmup_steps) / max(1, max_steps - cfg.warmup_steps))
    return cfg.lr * (cfg.final_lr_ratio + (1 - cfg.final_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2)


def make_optimiser(model: nn.Module, cfg: OptimConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) that leaves biases and batch norms undecayed."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": cfg.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=cfg.lr, betas=cfg.betas)


@dataclass(slots=True)
class Progress:
    """Where a run is."""

    step: int = 0
    best_val: float = math.inf
    bad_vals: int = 0
    """Validations since the best one."""
    last_val: float | None = None


class Trainer:
    """One run in one folder: ``last.pt``, ``best.pt`` (lowest validation loss), ``metrics.jsonl``."""

    def __init__(
        self,
        cfg: Config,
        cache: Cache,
        out: Path,
        device: Device = "auto",
        show_progress: bool = True,
        teachers: Path | None = None,
    ) -> None:
        self.cfg = cfg
        self.cache = cache
        self.out = out
        self.show_progress = show_progress
        self.fabric = Fabric(accelerator=device, devices=1, precision=PRECISIONS[cfg.run.precision])
        self.targets = self._load_targets(teachers)
        grid = WindowGrid(cache.clips, cfg.clip_samples, cache.sample_rate) if cfg.distil.teachers else None
        self.sampler = Sampler(cache, cfg, grid)
        self.augmenter = Augmenter(cfg.augment, cfg.frontend.sample_rate)
        torch.manual_seed(cfg.run.seed)
        system = PretrainingSystem(cfg)
        if cfg.run.channels_last:
            system = system.to(memory_format=torch.channels_last)
        self.system = system
        optimiser = make_optimiser(system, cfg.optim)
        if cfg.run.compile:
            system.compile()
        self.model, self.optimiser = self.fabric.setup(system, optimiser)
        self.progress = Progress()
        self.commit = git_commit()
        self._stop = False

    def resume(self) -> None:
        """Go on where ``last.pt`` stopped.

        Raises:
            CheckpointError: If it is missing or damaged, or of another config or corpus.
        """
        path = self.out / "last.pt"
        document = read_checkpoint(path)
        saved = checkpoint_config(document, path)
        allowed = {name: getattr(self.cfg.run, name) for name in MAY_CHANGE}
        _require_same(replace(saved, run=replace(saved.run, **allowed)), self.cfg, path)
        if document["info"]["corpus_sha256"] != self.cache.sha256:
            raise CheckpointError(f"{path} was trained on another corpus than {self.cache.folder}: pass the same cache")
        load_weights(self.system, document["model"], path)
        self.optimiser.load_state_dict(document["training"]["optimiser"])
        self.progress = Progress(**document["training"]["progress"])
        _log.info("resumed at step %d", self.progress.step)

    def run(self) -> Progress:
        """Train up to ``run.max_steps``, or until SIGTERM, SIGINT or ``run.patience`` ends it; leaves a checkpoint.

        Raises:
            TrainingError: If a loss is not finite (the last checkpoint is kept), or a file cannot be written.
        """
        cfg = self.cfg.run
        self.out.mkdir(parents=True, exist_ok=True)
        self._trim_metrics()
        saved_at, saved_step = time.monotonic(), self.progress.step
        bar = tqdm(
            total=cfg.max_steps,
            initial=self.progress.step,
            unit="step",
            disable=not self.show_progress,
            desc="training",
        )
        with self._signals(), bar, (self.out / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
            began = time.perf_counter()
            for step, batch in self._batches(self.progress.step):
                terms = self._step(step, batch)
                self.progress.step = step + 1
                now = time.perf_counter()
                terms["clips_per_s"] = cfg.batch_size / (now - began)
                began = now
                if cfg.val_every and self.progress.step % cfg.val_every == 0:
                    terms.update(self._validate())
                metrics.write(json.dumps({"step": self.progress.step, **_rounded(terms)}) + "\n")
                metrics.flush()
                bar.set_postfix(loss=f"{terms['loss']:.3f}", clips_s=f"{terms['clips_per_s']:.0f}", refresh=False)
                bar.update()
                done = self._stop or (cfg.patience and self.progress.bad_vals >= cfg.patience)
                if done or time.monotonic() - saved_at > cfg.checkpoint_every_s:
                    self._save("last.pt")
                    saved_at, saved_step = time.monotonic(), self.progress.step
                if done:
                    _log.info("stopped at step %d", self.progress.step)
                    break
                began = time.perf_counter() if cfg.val_every and self.progress.step % cfg.val_every == 0 else began
        if saved_step != self.progress.step or not (self.out / "last.pt").is_file():
            self._save("last.pt")
        return self.progress

    def _load_targets(self, teachers: Path | None) -> list[Tensor]:
        """Every teacher's (W, P) answers, float32."""
        names = self.cfg.distil.teachers
        if names and teachers is None:
            raise ConfigError(f"distil.teachers={list(names)} need their files: pass their folder with --teachers")
        return [
            load_targets(self.cache, teachers / f"{name}.onnx", self.cfg.clip_samples, self.cfg.distil.n_dims)
            for name in names
            if teachers is not None
        ]

    def _losses(self, model: nn.Module, clips: Tensor, rows: Tensor, seed: int) -> dict[str, Tensor]:
        """Augment (N, samples) clips, whose numbers on the teachers' grid are (N,) rows, and compute their losses."""
        clips = clips.to(self.fabric.device, non_blocking=True)
        taught = targets = None
        with torch.no_grad():
            views, labels = self.augmenter.two_views(clips, seed)
            if self.targets:
                taught = self.augmenter.some(clips, self.cfg.distil.augmentations, seed + 1)
                targets = torch.stack([answers[rows] for answers in self.targets]).to(self.fabric.device)
        return model(views, labels, taught, targets)

    def _batches(self, first: int) -> Iterator[tuple[int, Batch]]:
        """Step and clips, the next step's being read while the present one computes."""
        n_clips, last = self.cfg.run.batch_size, self.cfg.run.max_steps
        with ThreadPoolExecutor(max_workers=1) as pool:
            pending = pool.submit(self.sampler.batch, first, n_clips)
            for step in range(first, last):
                batch = pending.result()
                if step + 1 < last:
                    pending = pool.submit(self.sampler.batch, step + 1, n_clips)
                yield step, batch

    def _step(self, step: int, batch: Batch) -> dict[str, float]:
        cfg = self.cfg
        rate = learning_rate(step, cfg.optim, cfg.run.max_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        parts = zip(batch.clips.chunk(cfg.run.accumulate), batch.rows.chunk(cfg.run.accumulate), strict=True)
        for number, (clips, rows) in enumerate(parts):
            losses = self._losses(self.model, clips, rows, step_seed(cfg.run.seed, step, number))
            self.fabric.backward(losses["loss"] / cfg.run.accumulate)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / cfg.run.accumulate
        if not math.isfinite(sums["loss"]):
            raise TrainingError(
                f"the loss at step {step + 1} is {sums['loss']}: lower optim.lr={cfg.optim.lr} or use "
                f"run.precision='fp32'; the last checkpoint, {self.out / 'last.pt'}, is kept"
            )
        norm = self.fabric.clip_gradients(
            self.model, self.optimiser, max_norm=cfg.optim.clip_norm or math.inf, error_if_nonfinite=False
        )
        self.optimiser.step()
        return {**sums, "grad_norm": float(norm) if norm is not None else 0.0, "lr": rate}

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
            losses = self._losses(self.system, batch.clips, batch.rows, step_seed(cfg.seed, 2**32, number))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            n_batches += 1
        means = {f"val_{name}": value / n_batches for name, value in sums.items()}
        self.progress.last_val = means["val_loss"]
        if means["val_loss"] < self.progress.best_val:
            self.progress.best_val, self.progress.bad_vals = means["val_loss"], 0
            self._save("best.pt")
        else:
            self.progress.bad_vals += 1
        return means

    def _save(self, name: str) -> None:
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
            training={
                "optimiser": self.optimiser.state_dict(),
                "progress": {field: getattr(progress, field) for field in Progress.__dataclass_fields__},
            },
        )

    def _trim_metrics(self) -> None:
        """Drop the lines of steps that a resumed run does again."""
        path = self.out / "metrics.jsonl"
        if not path.is_file():
            return
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in lines if json.loads(line)["step"] <= self.progress.step]

        def write(aside: Path) -> None:
            aside.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

        replace_file(path, write)

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


def pretrain(
    cfg: Config,
    cache_folder: Path,
    out: Path,
    *,
    resume: bool,
    device: Device,
    show_progress: bool,
    teachers: Path | None = None,
) -> Progress:
    """Start or resume a run.

    Raises:
        TrainingError: If ``out`` holds a run and ``resume`` is not set.
    """
    if not resume and (out / "last.pt").exists():
        raise TrainingError(f"{out} holds a run already: go on with --resume, or choose another --out")
    trainer = Trainer(cfg, Cache(cache_folder), out, device, show_progress, teachers)
    if resume and (out / "last.pt").exists():
        trainer.resume()
    return trainer.run()


def step_seed(seed: int, step: int, part: int) -> int:
    """Seed of the augmentations of one part of one step's batch."""
    return int(np.random.SeedSequence((seed, step, part)).generate_state(1, np.uint64)[0] >> 1)


def _require_same(saved: Config, now: Config, path: Path) -> None:
    before, after = saved.to_dict(), now.to_dict()
    for section, settings in before.items():
        for key, value in settings.items():
            if after[section][key] != value:
                raise CheckpointError(
                    f"{path} was trained with {section}.{key}={value!r}, the config says {after[section][key]!r}: "
                    f"resume with the same settings, or start anew in another --out"
                )


def _rounded(terms: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.7g}") for name, value in terms.items()}
