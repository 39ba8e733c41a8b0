"""Measures steps side by side, taking turns, so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from train.augment.chain import Augmenter
from train.bench.per_clip import PerClipPipeline
from train.config import INVARIANT, SENSITIVE, Config, DistilConfig, Variant
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
    """Our step: cache, batched augmentations, one pass of what the tasks share."""

    def __init__(self, cfg: Config, cache: Cache) -> None:
        self.cfg = cfg
        self.clock = Clock()
        self.sampler = Sampler(cache, cfg)
        self.augmenter = Augmenter(cfg.augment, cfg.frontend.sample_rate)
        self.system = PretrainingSystem(cfg).to(memory_format=torch.channels_last)
        self.optimiser = make_optimiser(self.system, cfg.optim)
        self.number = 0

    def __call__(self) -> None:
        """Do one step."""
        part = self.clock.part
        with part("read"):
            clips = self.sampler.batch(self.number, self.cfg.run.batch_size).clips
        with part("augment"), torch.no_grad():
            views, labels = self.augmenter.two_views(clips, self.number)
        with part("forward"):
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


def compare(cfg: Config, cache: Cache, audio: Path, n_steps: int) -> Iterator[dict[str, Any]]:
    """Rows of the comparison: the published step, ours, and ours for every variant.

    Args:
        cfg: Whose model, batch and clip length to use.
        cache: Of ``audio``.
        audio: Files that the published step decodes.
        n_steps: Steps of each that count; one more of each warms up.
    """
    cfg = two_tasks(cfg)
    ours, published = BatchedStep(cfg, cache), PublishedStep(cfg, audio)
    _take_turns([published, ours], n_steps)
    size = cfg.run.batch_size
    slow, fast = published.clock, ours.clock
    for name, clock in (("published, clip by clip", slow), ("batched, from the cache", fast)):
        yield {
            "step": name,
            "clips_per_s": round(size / clock.total(clock.wall), 1),
            "clips_per_cpu_s": round(size / clock.total(clock.cpu), 1),
            "shares": clock.shares(),
        }
    yield {
        "speedup": round(slow.total(slow.wall) / fast.total(fast.wall), 2),
        "speedup_cpu": round(slow.total(slow.cpu) / fast.total(fast.cpu), 2),
        "augmentation_share": fast.shares()["augment"],
    }
    steps = {
        variant: BatchedStep(replace(cfg, model=replace(cfg.model, variant=variant)), cache) for variant in VARIANTS
    }
    _take_turns(list(steps.values()), max(1, n_steps // 2))
    for variant, step in steps.items():
        row = {"variant": variant, "ms_per_clip": round(1e3 * step.clock.total(step.clock.wall) / size, 2)}
        yield {**row, "cpu_ms_per_clip": round(1e3 * step.clock.total(step.clock.cpu) / size, 2)}


def _take_turns(steps: list[Any], n_steps: int) -> None:
    for step in steps:
        step()  # warm-up
        step.clock.wall.clear()
        step.clock.cpu.clear()
    for _ in range(n_steps):
        for step in steps:
            step()
