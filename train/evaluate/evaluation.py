"""One encoder on any number of sets: accuracies, open set, robustness, invariance. What is found is plain values."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from train.checkpoint import git_commit
from train.errors import CorpusError
from train.evaluate.conditions import CONDITIONS
from train.evaluate.embedding import Change, EmbeddingCache, with_all_heads
from train.evaluate.encoders import ALL_HEADS, Encoder, open_encoder
from train.evaluate.invariance import invariance, weight_shares
from train.evaluate.probing.intervals import estimate_share
from train.evaluate.probing.open_set import aurocs, detection_curve
from train.evaluate.probing.probes import PROBES, Probe, TaskScores, answers, class_accuracies, score_tasks
from train.evaluate.sets import LabelledSet
from train.evaluate.settings import Settings, load_plug_in
from train.evaluate.tasks import Apart, Tasks, stored_tasks

_log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]
Row = dict[str, Any]
Heads = dict[str, FloatArray]

FORMAT = "earmark-evaluation-1"

APART: dict[str, Apart] = {
    "groups mixed": "mixed",
    "groups apart within a class": "class",
    "groups apart within a task": "task",
}
"""Which groups support and queries may share, by the name in the report."""


@dataclass(slots=True)
class Evaluation:
    """What was found."""

    document: Row
    """Goes into ``results.json``."""
    arrays: dict[str, npt.NDArray[Any]]
    """Accuracy of each task, for paired comparisons: ``SET/K/HEAD/PROBE``, and the tasks' classes as ``SET/K``."""


def evaluate(
    subject: str,
    sets: Sequence[LabelledSet],
    settings: Settings,
    cache_folder: Path,
    *,
    progress: bool = False,
    told: Callable[[Row], None] = lambda row: None,
) -> Evaluation:
    """Evaluate one encoder.

    Args:
        subject: A checkpoint, an exported file, or the name of a control.
        sets: What on.
        settings: How.
        cache_folder: Gets embeddings and tasks.
        progress: Whether to draw bars on stderr.
        told: Gets each accuracy as soon as it is known.

    Raises:
        EvaluationError: If the subject cannot be opened, or there is no such probe.
        CorpusError: If no set has enough clips, or one cannot be read.
    """
    encoder = open_encoder(subject)
    cache = EmbeddingCache(cache_folder / "embeddings", progress)
    plug_ins = {name: load_plug_in(name) for name in settings.probes if name not in PROBES}
    controls = {name: open_encoder(name) for name in settings.controls if name != subject}
    reports: list[Row] = []
    arrays: dict[str, npt.NDArray[Any]] = {}
    beside: dict[str, list[Row]] = {name: [] for name in controls}
    for labelled in sets:
        several = _all_tasks(labelled, settings, cache_folder / "tasks")
        if not several:
            continue
        heads = _embed(encoder, cache, labelled)
        report = _describe(labelled, several)
        for tasks in several:
            scores = _score(heads, tasks, settings.batched)
            for name, plug_in in plug_ins.items():
                scores["its own", name] = plug_in(subject, labelled, tasks.first(settings.plug_in_tasks))
            _fill(report, arrays, labelled, tasks, scores, told)
            for name, control in controls.items():
                found = _score(_embed(control, cache, labelled), tasks, settings.batched)
                beside[name] += [
                    {"set": labelled.name, **_accuracy(tasks, *key, scores)} for key, scores in found.items()
                ]
        report["confusion"] = _confusion(labelled, several[-1], heads, settings)
        if len(heads) > 1:
            report["weight_shares"] = weight_shares(heads, several[0])
        if settings.robustness_tasks:
            report["robustness"] = _robustness(encoder, cache, labelled, settings, several[0], heads)
        reports.append(report)
    if not reports:
        raise CorpusError("none of the sets has enough clips for these tasks: lower --k-shots or --n-way")
    document: Row = {
        "format": FORMAT,
        "subject": encoder.name,
        "fingerprint": encoder.fingerprint,
        "commit": git_commit(),
        "settings": asdict(settings),
        "sets": reports,
        "controls": beside,
    }
    if settings.invariance:
        document["invariance"] = invariance(encoder, sets)
    return Evaluation(document, arrays)


def _all_tasks(labelled: LabelledSet, settings: Settings, folder: Path) -> list[Tasks]:
    """The tasks of each number of shots; with ``skip_small``, of those that the set is large enough for."""
    several = []
    for k_shot in settings.k_shots:
        try:
            spec = replace(settings.tasks, k_shot=k_shot)
            several.append(stored_tasks(labelled, spec, folder, skip_small=settings.skip_small))
        except CorpusError as err:
            if not settings.skip_small:
                raise
            _log.warning("%s", err)
    return several


def _embed(encoder: Encoder, cache: EmbeddingCache, labelled: LabelledSet) -> Heads:
    heads = cache.embed(encoder, labelled)
    return _standardised(heads, heads) if encoder.standardise else heads


def _standardised(heads: Heads, reference: Heads) -> Heads:
    """Each dimension brought to the mean 0 and variance 1 that ``reference`` has then."""
    return {
        head: (rows - reference[head].mean(axis=0)) / np.maximum(reference[head].std(axis=0), 1e-9)
        for head, rows in heads.items()
    }


def _score(
    heads: Heads, tasks: Tasks, probes: Mapping[str, Probe], asked: Heads | None = None
) -> dict[tuple[str, str], TaskScores]:
    """Scores of each head, and of all of them side by side, by each probe."""
    result = {}
    for unit in (True, False):
        chosen = {name: probe for name, probe in probes.items() if probe.unit_length is unit}
        changed = with_all_heads(asked, unit=unit) if asked else {}
        for head, rows in with_all_heads(heads, unit=unit).items() if chosen else ():
            for name, scores in score_tasks(rows, tasks, chosen, changed.get(head)).items():
                result[head, name] = scores
    return result


def _describe(labelled: LabelledSet, several: list[Tasks]) -> Row:
    return {
        "name": labelled.name,
        "n_clips": len(labelled.paths),
        "n_classes": len(labelled.classes),
        "n_groups": len(np.unique(labelled.groups)) if labelled.has_groups else None,
        "notes": list(labelled.notes),
        "sha256": labelled.sha256(),
        "tasks": [
            {
                "k_shot": tasks.spec.k_shot,
                "n_tasks": len(tasks.classes),
                "seed": tasks.spec.seed,
                "sha256": tasks.sha256(),
                "fewest_queries": int((tasks.queries >= 0).sum(axis=2).min()),
                "left_out": list(tasks.left_out),
            }
            for tasks in several
        ],
        "accuracy": [],
        "open_set": [],
    }


def _fill(
    report: Row,
    arrays: dict[str, npt.NDArray[Any]],
    labelled: LabelledSet,
    tasks: Tasks,
    found: dict[tuple[str, str], TaskScores],
    told: Callable[[Row], None],
) -> None:
    k_shot = tasks.spec.k_shot
    arrays[f"{labelled.name}/{k_shot}"] = tasks.classes.astype(np.int32)
    for (head, probe), scores in found.items():
        row = _accuracy(tasks, head, probe, scores)
        report["accuracy"].append(row)
        told({"set": labelled.name, **row})
        each = class_accuracies(scores).mean(axis=1)
        arrays[f"{labelled.name}/{k_shot}/{head}/{probe}"] = each.astype(np.float32)
        if scores.unknown.shape[1]:
            curve = detection_curve(scores)
            report["open_set"].append(
                {
                    "k_shot": k_shot,
                    "head": head,
                    "probe": probe,
                    "auroc": estimate_share(aurocs(scores), tasks.classes[: len(each)]).to_dict(),
                    "equal_error": round(curve.equal_error, 4),
                    "false_accept": curve.false_accept.round(4).tolist(),
                    "false_reject": curve.false_reject.round(4).tolist(),
                }
            )


def _accuracy(tasks: Tasks, head: str, probe: str, scores: TaskScores) -> Row:
    each = class_accuracies(scores).mean(axis=1)
    found = estimate_share(each, tasks.classes[: len(each)]).to_dict()
    return {"k_shot": tasks.spec.k_shot, "head": head, "probe": probe, "n_tasks": len(each), **found}


def main_head(heads: Heads) -> str:
    """All heads together if there are several, else the one there is."""
    return ALL_HEADS if len(heads) > 1 else next(iter(heads))


def _confusion(labelled: LabelledSet, tasks: Tasks, heads: Heads, settings: Settings) -> Row:
    """How often queries of each class (row) were given to each class (column), by the main head and probe."""
    name = settings.probes[0]
    probe = PROBES[name]
    head = main_head(heads)
    rows = with_all_heads(heads, unit=probe.unit_length)[head]
    chosen = answers(score_tasks(rows, tasks, {name: probe})[name])
    true = np.broadcast_to(tasks.classes[:, :, None], chosen.shape)
    given = np.take_along_axis(tasks.classes[:, :, None], np.maximum(chosen, 0), axis=1)
    there = chosen >= 0
    counts = np.zeros((len(labelled.classes),) * 2, dtype=np.int64)
    np.add.at(counts, (true[there], given[there]), 1)
    used = np.flatnonzero(counts.sum(axis=1))
    return {
        "k_shot": tasks.spec.k_shot,
        "head": head,
        "probe": name,
        "classes": [labelled.classes[c] for c in used],
        "counts": counts[np.ix_(used, used)].tolist(),
    }


def _robustness(
    encoder: Encoder, cache: EmbeddingCache, labelled: LabelledSet, settings: Settings, tasks: Tasks, heads: Heads
) -> list[Row]:
    """Accuracy with clean support and changed queries, and with other choices of groups, by the main probe."""
    name = settings.probes[0]
    probe = {name: PROBES[name]}
    some = tasks.first(settings.robustness_tasks)
    rows = []

    def add(condition: str, found: dict[tuple[str, str], TaskScores], on: Tasks) -> None:
        for (head, _), scores in found.items():
            rows.append({"condition": condition, **_accuracy(on, head, name, scores)})

    add("clean", _score(heads, some, probe), some)
    for condition, change in CONDITIONS.items():
        asked = _changed(encoder, cache, labelled, condition, change)
        add(condition, _score(heads, some, probe, asked), some)
    if labelled.has_groups:
        for condition, apart in APART.items():
            spec = replace(tasks.spec, apart=apart, n_tasks=settings.robustness_tasks)
            try:
                others = stored_tasks(labelled, spec, cache.folder.parent / "tasks", skip_small=settings.skip_small)
            except CorpusError as err:
                _log.warning("%s", err)
                continue
            add(condition, _score(heads, others, probe), others)
    return rows


def _changed(encoder: Encoder, cache: EmbeddingCache, labelled: LabelledSet, condition: str, change: Change) -> Heads:
    heads = cache.embed(encoder, labelled, condition, change)
    return _standardised(heads, cache.embed(encoder, labelled)) if encoder.standardise else heads
