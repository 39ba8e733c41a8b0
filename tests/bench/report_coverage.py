"""Whether the report of an enrolment tells the truth: `make bench-report`.

Many enrolments of five sounds with five recordings each are simulated on the public sets. Of each sound the report
gives a 95 % interval of the share that will be heard; the truth is what the same head hears of all other clips of the
class.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from device_app.enrolment.head import fit_head
from device_app.enrolment.report import heard_as, make_report
from device_app.model.embedder import Embedder
from tests.bench.json_rows import run
from tests.bench.labelled_clips import LabelledClips, draw_tasks, examples_of, read_set

SETS = {"esc10": 40, "fsdd": 0, "gm-instruments": 20}
"""Clips a class, so that the truth is known well."""
N_WAY, K_SHOT = 5, 5


@dataclass(frozen=True, slots=True)
class Promise:
    """What was promised of one sound, and what came of it."""

    low: float
    high: float
    reported: float
    truth: float
    n_others: int
    """Clips that the truth was found with."""

    @property
    def kept(self) -> bool:
        """Whether the interval holds the truth, which is known to half a clip: 15 of 15 may well be 99 %."""
        return self.low - 0.5 / self.n_others <= self.truth <= self.high + 0.5 / self.n_others

    @property
    def floor_kept(self) -> bool:
        """Whether the truth is at least what was promised, to the letter."""
        return self.low <= self.truth


def simulate(clips: LabelledClips, embedder: Embedder, n_enrolments: int, seed: int = 0) -> Iterator[Promise]:
    """Enrol, read the report, and hear all other clips."""
    clip_s = embedder.metadata.clip_samples / embedder.metadata.sample_rate
    tasks = draw_tasks(clips, n_enrolments, n_way=N_WAY, k_shot=K_SHOT, n_queries=10**6, groups_apart=False, seed=seed)
    for task in tasks:
        examples = examples_of(clips, task)
        fit = fit_head(
            examples,
            background=(),
            bank=embedder.background(),
            head_sizes=embedder.head_sizes,
            model_id="",
            recordings=(),
        )
        report = make_report(fit, examples, embedder.heads, clip_s, has_room=False)
        for sound, queries in zip(report.sounds, task.queries, strict=True):
            heard = [
                sound.sound in heard_as(fit.head.score(clips.clean(clip)[::2]), fit.head.sounds, clip_s)
                for clip in queries
            ]
            share = sound.n_heard / sound.n_judged
            yield Promise(sound.recall_low, sound.recall_high, share, float(np.mean(heard)), len(heard))


def rows(embedder: Embedder, n_enrolments: int) -> Iterator[dict[str, object]]:
    """One row a set."""
    for name, most in SETS.items():
        for clips in read_set(name, embedder, most):
            promises = list(simulate(clips, embedder, n_enrolments))
            yield {
                "set": clips.name,
                "sounds": len(promises),
                "truth within the interval, %": round(100.0 * np.mean([p.kept for p in promises]), 1),
                "truth not below it, %": round(100.0 * np.mean([p.floor_kept for p in promises]), 1),
                "heard in the report, %": round(100.0 * np.mean([p.reported for p in promises]), 1),
                "heard in truth, %": round(100.0 * np.mean([p.truth for p in promises]), 1),
            }


if __name__ == "__main__":
    sys.exit(run(__doc__, "--enrolments", rows))
