"""What was measured, as figures to put into tables: means over sets with intervals, differences, ranks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.evaluate.probing.intervals import N_REPLICATES, replicates
from train.evaluate.reports.compare import StoredReport
from train.results.published import ACCURACY
from train.results.runs import VariantRun

DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure in percent, or percentage points, with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"

    @property
    def signed(self) -> str:
        """With a sign, for differences; a star if the interval leaves out 0."""
        star = "*" if self.low > 0 or self.high < 0 else ""
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]{star}"


@dataclass(frozen=True, slots=True)
class Measured:
    """All reports of the nine runs, and how they are read."""

    reports: dict[VariantRun, StoredReport]
    sets: tuple[str, ...]

    def runs(self, contrastive: str) -> list[VariantRun]:
        """The rows of one table in the paper's order; prediction alone, which has no such loss, is in both."""
        rows = {run.name: run for run in self.reports if run.contrastive == contrastive or run.name == "Pred Only"}
        return [rows[name] for name in ACCURACY[contrastive]]

    def sets_with(self, k_shot: int) -> list[str]:
        """The sets that are large enough for so many shots."""
        first = next(iter(self.reports.values()))
        return [name for name in self.sets if f"{name}/{k_shot}" in first.arrays]

    def tasks(
        self, run: VariantRun, name: str, k_shot: int, probe: str, head: str | None = None
    ) -> tuple[DoubleArray, npt.NDArray[np.int64]]:
        """Accuracy of each task in percent, and the tasks' classes."""
        report = self.reports[run]
        chosen = report.head(name, k_shot, head, probe)
        values = report.arrays[f"{name}/{k_shot}/{chosen}/{probe}"].astype(np.float64)
        return 100 * values, report.arrays[f"{name}/{k_shot}"].astype(np.int64)

    def on(self, run: VariantRun, name: str, k_shot: int, probe: str) -> Figure:
        """Accuracy on one set."""
        return self._figure([self.tasks(run, name, k_shot, probe)])

    def mean(self, run: VariantRun, k_shot: int, probe: str, head: str | None = None) -> Figure:
        """Mean over the sets."""
        return self._figure([self.tasks(run, name, k_shot, probe, head) for name in self.sets_with(k_shot)])

    def gain(self, run: VariantRun, base: VariantRun, k_shot: int, probe: str) -> Figure:
        """Mean over the sets of the difference from another run on the same tasks."""
        pairs = []
        for name in self.sets_with(k_shot):
            mine, classes = self.tasks(run, name, k_shot, probe)
            pairs.append((mine - self.tasks(base, name, k_shot, probe)[0], classes))
        return self._figure(pairs)

    def ranks(self, contrastive: str, k_shot: int, probe: str) -> dict[str, float]:
        """Mean rank of each run among those of its table over the sets; 1 is best."""
        runs = self.runs(contrastive)
        scores = [[self.on(run, name, k_shot, probe).mean for name in self.sets_with(k_shot)] for run in runs]
        return dict(zip([run.name for run in runs], mean_ranks(np.array(scores)), strict=True))

    @staticmethod
    def _figure(parts: list[tuple[DoubleArray, npt.NDArray[np.int64]]]) -> Figure:
        drawn = np.mean([replicates(v, c, seed, N_REPLICATES) for seed, (v, c) in enumerate(parts)], axis=0)
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Figure(float(np.mean([v.mean() for v, _ in parts])), float(low), float(high))


def mean_ranks(scores: DoubleArray) -> list[float]:
    """Mean over columns (sets) of each row's rank from the largest score on; equal scores share theirs."""
    larger = (scores[None] > scores[:, None]).sum(axis=1)
    equal = (scores[None] == scores[:, None]).sum(axis=1)
    return [float(rank) for rank in (larger + (equal + 1) / 2).mean(axis=1)]


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's, without ties' correction."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
