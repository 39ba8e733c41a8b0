"""Measures steps side by side, taking turns, so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from train.augment.chain import Augmenter
from train.bench.per_clip import PerClipPipeline
from train.config import INVARIANT, SENSITIVE, Config, DistilConfig, Precision, Variant
from train.corpus.cache import Cache
from train.corpus.layouts import training_files
from train.corpus.sampling import Sampler
from train.network.system import PretrainingSystem
from train.run.optimiser import make_optimiser

VARIANTS: tuple[Variant, ...] = ("none", "split", "bn", "series", "parallel")


@dataclass(slots=True)
class Clock:
    """Wall and processor seconds of named parts of steps."""

    wall: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)
        self.cpu.setdefault(name, []).append(time.process_time() - cpu)

    def total(self, which: dict[str, list[float]]) -> float:
        """Median seconds of a whole step."""
        return statistics.median(sum(parts) for parts in zip(*which.values(), strict=True))

    def shares(self) -> dict[str, float]:
        """Each part's share of the processor seconds of all steps."""
        whole = sum(map(sum, self.cpu.values()))
        return {name: round(sum(values) / whole, 3) for name, values in self.cpu.items()}


class BatchedStep:
    """Our step: cache, batched augmentations, one pass of what the tasks share, in the config's precision."""

    def __init__(self, cfg: Config, cache: Cache) -> None:
        self.cfg = cfg
        self.clock = Clock()
        self.sampler = Sampler(cache, cfg)
        self.augmenter = Augmenter(cfg.augment, cfg.frontend.sample_rate)
        self.system = PretrainingSystem(cfg).to(memory_format=torch.channels_last)
        self.optimiser = make_optimiser(self.system, cfg.optim, cfg.run.precision)
        self.number = 0

    def __call__(self) -> None:
        """Do one step."""
        part = self.clock.part
        with part("read"):
            clips = self.sampler.batch(self.number, self.cfg.run.batch_size).clips
        with part("augment"), torch.no_grad():
            views, labels = self.augmenter.two_views(clips, self.number)
        with part("forward"), torch.autocast("cpu", torch.bfloat16, enabled=self.cfg.run.precision == "bf16"):
            loss = self.system(views, labels)["loss"]
        with part("backward"):
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
        with part("optimiser"):
            self.optimiser.step()
        self.number += 1


class PublishedStep:
    """The published pipeline's step, timed likewise."""

    def __init__(self, cfg: Config, audio: Path) -> None:
        self.clock = Clock()
        self.pipeline = PerClipPipeline(cfg, training_files(audio), PretrainingSystem(cfg))

    def __call__(self) -> None:
        """Do one step."""
        with self.clock.part("read"):
            clips = self.pipeline.read()
        with self.clock.part("augment"), torch.no_grad():
            views = self.pipeline.augment(clips)
        with self.clock.part("network"):
            self.pipeline.train(*views)


def two_tasks(cfg: Config) -> Config:
    """The config with the paper's two tasks alone, both views predicted from, as the published step does."""
    return replace(
        cfg,
        model=replace(cfg.model, tasks=(INVARIANT, SENSITIVE)),
        loss=replace(cfg.loss, contrastive="simclr", mlap_views=2),
        distil=DistilConfig(),
    )


def compare(
    cfg: Config, cache: Cache, audio: Path, n_steps: int, precisions: Sequence[Precision] = ("fp32",)
) -> Iterator[dict[str, Any]]:
    """Rows of the comparison: the published step, in float32, ours in each precision, and ours for every variant.

    Args:
        cfg: Whose model, batch and clip length to use.
        cache: Of ``audio``.
        audio: Files that the published step decodes.
        n_steps: Steps of each that count; one more of each warms up.
        precisions: Of our step, ``fp32`` or ``bf16``.
    """
    cfg = two_tasks(cfg)
    published = PublishedStep(cfg, audio)
    ours = {precision: BatchedStep(_changed(cfg, precision), cache) for precision in precisions}
    _take_turns([published, *ours.values()], n_steps)
    size, slow = cfg.run.batch_size, published.clock
    named = [("published, clip by clip", "fp32", slow)]
    named += [("batched, from the cache", precision, step.clock) for precision, step in ours.items()]
    for name, precision, clock in named:
        yield {
            "step": name,
            "precision": precision,
            "clips_per_s": round(size / clock.total(clock.wall), 1),
            "clips_per_cpu_s": round(size / clock.total(clock.cpu), 1),
            "shares": clock.shares(),
        }
    for precision, step in ours.items():
        fast = step.clock
        yield {
            "precision": precision,
            "speedup": round(slow.total(slow.wall) / fast.total(fast.wall), 2),
            "speedup_cpu": round(slow.total(slow.cpu) / fast.total(fast.cpu), 2),
            "augmentation_share": fast.shares()["augment"],
        }
    pairs = [(variant, precision) for variant in VARIANTS for precision in precisions]
    steps = {pair: BatchedStep(_changed(cfg, pair[1], pair[0]), cache) for pair in pairs}
    _take_turns(list(steps.values()), max(1, n_steps // 2))
    for (variant, precision), step in steps.items():
        yield {
            "variant": variant,
            "precision": precision,
            "ms_per_clip": round(1e3 * step.clock.total(step.clock.wall) / size, 2),
            "cpu_ms_per_clip": round(1e3 * step.clock.total(step.clock.cpu) / size, 2),
        }


def _changed(cfg: Config, precision: Precision, variant: Variant | None = None) -> Config:
    model = replace(cfg.model, variant=variant or cfg.model.variant)
    return replace(cfg, model=model, run=replace(cfg.run, precision=precision))


def _take_turns(steps: list[Any], n_steps: int) -> None:
    for step in steps:
        step()  # warm-up
        step.clock.wall.clear()
        step.clock.cpu.clear()
    for _ in range(n_steps):
        for step in steps:
            step()
