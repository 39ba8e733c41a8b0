"""What learned weights of the network's heads are worth, in tasks of five clips a sound: `make bench-heads`.

For each public set, and for twin sounds, the share of clips that are taken for what they are, with the head as it is on
the device, with all heads of the network glued together, and with each of them alone. ``best`` is the head that turns
out best on the set, which nobody knows beforehand. Differences are paired: the same tasks for all. Tasks draw on the
same clips again and again, so an interval over tasks says how sure the figure is of these clips, and one over clips how
sure it is of the sounds.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from device_app.arrays import FloatArray
from device_app.enrolment.head import Examples, Head, fit_head
from device_app.model.embedder import Embedder
from tests.bench.json_rows import run
from tests.bench.labelled_clips import LabelledClips, Task, draw_tasks, examples_of, read_set
from tests.bench.twins import read_twins

K_SHOT = 5
SETS = {"esc10": 5, "fsdd": 5, "gm-instruments": 5, "orca-calls": 4}
"""Sounds of a task; only four of the orcas' calls have more than five clips."""
FEWER = ("orca-calls", 5, 3)
"""A set, sounds of a task and clips a sound: with three clips a sound all calls can be drawn."""
LEARNED, GLUED = "learned", "glued"


def variants(embedder: Embedder) -> dict[str, tuple[slice, dict[str, int]]]:
    """Columns of the embedding, and how they are divided into heads."""
    out = {LEARNED: (slice(None), embedder.head_sizes), GLUED: (slice(None), {GLUED: embedder.size})}
    start = 0
    for name, size in embedder.head_sizes.items():
        out[name] = (slice(start, start + size), {name: size})
        start += size
    return out


def judge(
    clips: LabelledClips, task: Task, bank: FloatArray, columns: slice, head_sizes: dict[str, int]
) -> dict[int, bool]:
    """For each query of a task, whether it is told apart by some columns of the embedding."""
    examples = [
        Examples(entry.sound, entry.recording, entry.embeddings[:, columns]) for entry in examples_of(clips, task)
    ]
    fit = fit_head(examples, background=(), bank=bank[:, columns], head_sizes=head_sizes, model_id="", recordings=())
    return told_apart(clips, task, fit.head, columns)


def told_apart(clips: LabelledClips, task: Task, head: Head, columns: slice = slice(None)) -> dict[int, bool]:
    """For each query of a task, whether its own sound has the highest discriminant, on the mean of its windows."""
    return {
        int(clip): int(np.argmax(head.discriminant(clips.clean(clip)[:, columns]).mean(axis=0))) == place
        for place, queries in enumerate(task.queries)
        for clip in queries
    }


def row(name: str, tasks: Iterable[tuple[LabelledClips, Task]], embedder: Embedder) -> dict[str, object]:
    """Accuracies in percent of all variants over the same tasks, and the differences that matter."""
    bank = embedder.background()
    kinds = variants(embedder)
    results: dict[str, list[float]] = {kind: [] for kind in kinds}
    gains: dict[tuple[str, int], list[float]] = {}  # of learned weights over glued heads, by set and clip
    for clips, task in tasks:
        judged = {kind: judge(clips, task, bank, columns, sizes) for kind, (columns, sizes) in kinds.items()}
        for kind, right in judged.items():
            results[kind].append(100.0 * float(np.mean(list(right.values()))))
        for clip, right in judged[LEARNED].items():
            gains.setdefault((clips.name, clip), []).append(100.0 * (float(right) - judged[GLUED][clip]))
    best = max(embedder.heads, key=lambda head: np.mean(results[head]))

    def less(other: str) -> str:
        return interval(np.subtract(results[LEARNED], results[other]))

    return {
        "set": name,
        "tasks": len(results[LEARNED]),
        **{kind: interval(values) for kind, values in results.items()},
        "best": best,
        "learned - best": less(best),
        "learned - glued": less(GLUED),
        f"learned - glued, over {len(gains)} clips": interval([float(np.mean(gain)) for gain in gains.values()]),
        "learned - invariant": less("invariant"),
    }


def interval(values: Sequence[float]) -> str:
    """Mean and half-width of its 95 % interval over tasks."""
    return f"{np.mean(values):.1f} ± {1.96 * np.std(values) / np.sqrt(len(values)):.1f}"


def refit_s(embedder: Embedder, n_sounds: int = 20, n_clips: int = 10) -> tuple[float, float]:
    """Seconds that a fit of many sounds from cached embeddings takes, by the clock and of processors: best of five."""
    rng = np.random.default_rng(0)
    bank = embedder.background()
    examples = [
        Examples(f"{sound:02d}", str(clip), bank[rng.integers(len(bank), size=36)])
        for sound in range(n_sounds)
        for clip in range(n_clips)
    ]
    times = []
    for _ in range(5):
        start = time.perf_counter(), time.process_time()
        fit_head(examples, background=(), bank=bank, head_sizes=embedder.head_sizes, model_id="", recordings=())
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return min(wall for wall, _ in times), min(cpu for _, cpu in times)


def rows(embedder: Embedder, n_tasks: int) -> Iterator[dict[str, object]]:
    """One row a set, then the time of a refit."""
    for name, n_way in SETS.items():
        for clips in read_set(name, embedder):
            tasks = draw_tasks(clips, n_tasks, n_way=n_way, k_shot=K_SHOT)
            yield row(clips.name, ((clips, task) for task in tasks), embedder)
    name, n_way, k_shot = FEWER
    for clips in read_set(name, embedder):
        tasks = draw_tasks(clips, n_tasks, n_way=n_way, k_shot=k_shot)
        yield row(f"{name}, {k_shot} clips a sound", ((clips, task) for task in tasks), embedder)
    for kind in ("pitch", "speed"):
        pairs = read_twins(kind, embedder)
        tasks_of = ((pair, task) for pair in pairs for task in draw_tasks(pair, 2, n_way=2, k_shot=K_SHOT, n_queries=4))
        yield row(f"twins: {kind}", tasks_of, embedder)
    wall, cpu = refit_s(embedder)
    yield {"refit of 20 sounds with 10 clips each": {"s": round(wall, 3), "processor s": round(cpu, 3)}}


if __name__ == "__main__":
    sys.exit(run(__doc__, "--tasks", rows))
