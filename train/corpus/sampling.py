"""Which windows of which clips make up a step's batch.

A batch follows from the seed and the step alone: nothing has to be saved to resume, and processes need not agree on
anything to draw parts of the same batch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from train.config import Config
from train.corpus.cache import Cache, Clip
from train.errors import CorpusError
from train.teachers import WindowGrid

FloatArray = npt.NDArray[np.float32]


def is_validation(path: str, fraction: float) -> bool:
    """Whether all clips of a file are kept for validation: the hash of its path decides, so that it never changes."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) / 2**64 < fraction


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of the corpus."""

    clips: Tensor
    """(N, samples) float32 in [-1, 1]."""
    rows: Tensor
    """(N,) int64: the windows' numbers on the teachers' grid; -1 without one."""

    def split(self, n_parts: int) -> "list[Batch]":
        """Divide the windows into parts, one after another."""
        pairs = zip(self.clips.chunk(n_parts), self.rows.chunk(n_parts), strict=True)
        return [Batch(clips, rows) for clips, rows in pairs]


class Sampler:
    """Draws batches of random windows, domains balanced, no clip twice in a batch if there are enough."""

    def __init__(self, cache: Cache, cfg: Config, grid: WindowGrid | None = None) -> None:
        """Group the training clips by domain and set the validation clips apart.

        Raises:
            CorpusError: If the cache's sample rate is not the config's, or fewer than two clips are left to train on.
        """
        if cache.sample_rate != cfg.frontend.sample_rate:
            raise CorpusError(
                f"the cache {cache.folder} is at {cache.sample_rate} Hz, the config asks for "
                f"frontend.sample_rate={cfg.frontend.sample_rate}: build a cache for this config"
            )
        self.cache = cache
        self.grid = grid
        """With teachers, windows start on the grid for which there are answers."""
        self.cfg = cfg.data
        self.n_samples = cfg.clip_samples
        self.seed = cfg.run.seed
        self.validation: list[Clip] = []
        domains: dict[str, list[Clip]] = {}
        for clip in cache.clips:
            if is_validation(clip.path, cfg.data.val_fraction):
                self.validation.append(clip)
            else:
                domains.setdefault(clip.domain, []).append(clip)
        self.domains = {name: domains[name] for name in sorted(domains)}
        sizes = np.array([len(clips) for clips in self.domains.values()], dtype=np.float64)
        if sizes.sum() < 2:
            raise CorpusError(f"the cache {cache.folder} leaves {int(sizes.sum())} clips to train on: add audio")
        weights = sizes**cfg.data.domain_exponent
        self.shares = weights / weights.sum()

    def batch(self, step: int, n_clips: int, part: int = 0, n_parts: int = 1, stream: int = 0) -> Batch:
        """Part ``part`` of ``n_parts`` of the batch of a step.

        Args:
            step: Any number from 0 on.
            n_clips: Clips of the whole batch, a multiple of ``n_parts``.
            part: Which part, from 0 on.
            n_parts: In how many.
            stream: Batches of one stream are drawn independently of another's.

        Returns:
            n_clips / n_parts windows.
        """
        drawn_from = self._drawn_from(step, stream)
        chosen = self.clips(step, n_clips, stream)
        share = n_clips // n_parts
        mine = range(part * share, (part + 1) * share)
        return self._windows([chosen[i] for i in mine], [(*drawn_from, i) for i in mine])

    def clips(self, step: int, n_clips: int, stream: int = 0) -> list[Clip]:
        """The clips that the windows of a step's whole batch are cut from."""
        return self._choose(np.random.default_rng(self._drawn_from(step, stream)), n_clips)

    def _drawn_from(self, step: int, stream: int) -> tuple[int, ...]:
        return (self.seed, step, *([2**32, stream] if stream else []))

    def validation_batch(self, number: int, n_clips: int) -> Batch | None:
        """The ``number``-th batch of the validation clips, the same each time; None when they are used up."""
        clips = self.validation[number * n_clips : (number + 1) * n_clips]
        if len(clips) < n_clips:
            return None
        return self._windows(clips, [(self.seed, 2**32, number * n_clips + i) for i in range(n_clips)])

    def _choose(self, rng: np.random.Generator, n_clips: int) -> list[Clip]:
        """A clip for each place; each is drawn again, a few times, while it is in the batch already."""
        names = list(self.domains)
        drawn: dict[tuple[int, int], None] = {}
        repeats: list[tuple[int, int]] = []
        for _ in range(8):
            missing = n_clips - len(drawn)
            if not missing:
                break
            domains = rng.choice(len(names), size=missing, p=self.shares)
            places = rng.random(missing)
            repeats = []
            for domain, place in zip(domains.tolist(), places.tolist(), strict=True):
                key = (domain, int(place * len(self.domains[names[domain]])))
                if key in drawn:
                    repeats.append(key)
                drawn[key] = None
        keys = [*drawn, *repeats][:n_clips]
        return [self.domains[names[domain]][place] for domain, place in keys]

    def _windows(self, clips: Sequence[Clip], seeds: Sequence[tuple[int, ...]]) -> Batch:
        out = np.zeros((len(clips), self.n_samples), dtype=np.float32)
        rows = []
        for row, clip, seed in zip(out, clips, seeds, strict=True):
            first = self._window(clip, np.random.default_rng(seed), row)
            rows.append(-1 if self.grid is None else self.grid.row(clip, first))
        return Batch(torch.from_numpy(out), torch.tensor(rows))

    def _window(self, clip: Clip, rng: np.random.Generator, row: FloatArray) -> int:
        """Write a window into ``row``: a random part of a long clip, or a short clip at a random place amid silence.

        Returns:
            The window's first sample in the clip; 0 for a short one.
        """
        first, spare = 0, clip.n_samples - self.n_samples
        if spare <= 0:
            start = int(rng.integers(-spare + 1))
            row[start : start + clip.n_samples] = self.cache.samples(clip, 0, clip.n_samples)
        else:
            row[:], first = self._active_window(clip, rng, spare)
        row /= 32768.0
        return first

    def _active_window(self, clip: Clip, rng: np.random.Generator, spare: int) -> tuple[FloatArray, int]:
        """The first of a few random windows that is not nearly silent, or else the loudest, and where it starts."""
        whole = self.cache.samples(clip, 0, clip.n_samples)[::8].astype(np.float32)
        enough = self.cfg.activity_ratio**2 * float(np.mean(whole * whole))
        best, first, loudest = np.zeros(self.n_samples, dtype=np.float32), 0, -1.0
        hop = 1 if self.grid is None else self.grid.hop
        for drawn in rng.integers(spare + 1, size=self.cfg.activity_draws).tolist():
            start = drawn // hop * hop
            window = self.cache.samples(clip, start, self.n_samples).astype(np.float32)
            power = float(np.dot(window, window)) / self.n_samples
            if power > loudest:
                best, first, loudest = window, start, power
            if power >= enough:
                break
        return best, first
