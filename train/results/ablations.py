"""``python -m train ablate``: the shipped recipe with one thing changed at a time, trained briefly and compared."""

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.checkpoint import LAST
from train.config import Config, config_from_dict, read_toml
from train.corpus.cache import Cache
from train.errors import ConfigError, TrainingError
from train.evaluate.datasets import open_sets
from train.evaluate.encoders import ALL_HEADS
from train.evaluate.evaluation import evaluate
from train.evaluate.reports.report import table
from train.evaluate.sets import LabelledSet
from train.evaluate.settings import Settings
from train.evaluate.tasks import TaskSpec
from train.files import save_text
from train.results.table import put_into
from train.run.start import pretrain

_log = logging.getLogger(__name__)

SETTINGS = Settings(k_shots=(1,), tasks=TaskSpec(n_tasks=1000), skip_small=True, probes=("logistic",), controls=())
"""How each network is evaluated."""


@dataclass(frozen=True, slots=True)
class Change:
    """One brief run."""

    name: str
    """For people: what is other than in the recipe."""
    config: Config

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        return re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-")


def read_changes(path: Path, base: Config) -> list[Change]:
    """The runs of a TOML file: ``[all]`` is laid over ``base``, each ``[[change]]`` over that.

    Raises:
        ConfigError: If the file is missing or not TOML, or a setting is unknown or wrong.
    """
    document = read_toml(path)
    common = _laid_over(base.to_dict(), document.get("all", {}))
    changes = []
    for number, entry in enumerate(document.get("change", [])):
        settings = dict(entry)
        name = settings.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"{path}: change {number + 1} has no name: give it one")
        try:
            changes.append(Change(name, config_from_dict(_laid_over(common, settings))))
        except ConfigError as err:
            raise ConfigError(f"{path}, change {name!r}: {err}") from err
    if not changes:
        raise ConfigError(f"{path} has no [[change]]: add one")
    return changes


def _laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {**base, **{name: {**base.get(name, {}), **values} for name, values in changes.items()}}


def ablate(
    changes: Sequence[Change],
    cache: Path,
    teachers: Path,
    sets: Sequence[str],
    out: Path,
    docs: Path | None,
    *,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Train what is missing, evaluate all, write the table.

    Args:
        changes: The runs.
        cache: The corpus, about which the teachers were asked.
        teachers: Folder of their files.
        sets: As on the command line of evaluate.
        out: Gets a folder for each run.
        docs: Whose ``RESULTS.md`` gets the table; None to leave it.
        progress: Whether to draw bars on stderr.

    Returns:
        A row for each run and set: ``change``, ``set``, ``head`` (the best one), ``best`` and ``all`` in %.

    Raises:
        TrainingError: If a run was told to stop.
        CorpusError: If the cache, the teachers' answers or a set is missing.
    """
    opened = open_sets(sets)
    Cache(cache)  # compared with its checksums once
    rows: list[dict[str, Any]] = []
    for change in changes:
        _log.info("%s", change.name)
        folder, began = out / change.folder, time.process_time()
        before = (folder / LAST).exists()
        done = pretrain(
            change.config,
            cache,
            folder,
            resume=True,
            device="cpu",
            show_progress=progress,
            teachers=teachers,
            verify=False,
        )
        if done.step < change.config.run.max_steps:
            raise TrainingError(f"stopped at step {done.step} of {folder}: the same command goes on from there")
        spent = folder / "cpu-seconds.txt"
        if not before:
            save_text(spent, f"{time.process_time() - began:.0f}\n")
        cost = int(spent.read_text()) if spent.is_file() else None
        rows += [{**row, "cpu_s": cost} for row in _accuracies(change, folder / LAST, opened, out, progress)]
    if docs is not None:
        path = docs / "RESULTS.md"
        before_text = path.read_text(encoding="utf-8") if path.is_file() else ""
        text = ablations_markdown(changes, rows)
        save_text(path, put_into(before_text, text, "ablations"))
    return rows


def _accuracies(
    change: Change, checkpoint: Path, sets: Sequence[LabelledSet], out: Path, progress: bool
) -> list[dict[str, Any]]:
    rows = []
    for report in evaluate(str(checkpoint), sets, SETTINGS, out / "cache", progress=progress).document["sets"]:
        found = {row["head"]: round(100 * row["mean"], 1) for row in report["accuracy"]}
        alone = {head: mean for head, mean in found.items() if head != ALL_HEADS}
        best = max(alone, key=lambda head: alone[head])
        together = found.get(ALL_HEADS, alone[best])
        rows.append({"change": change.name, "set": report["name"], "head": best, "best": alone[best], "all": together})
    return rows


def ablations_markdown(changes: Sequence[Change], rows: Sequence[dict[str, Any]]) -> str:
    """The table, with what it is about and the command of each row."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    body = []
    for change in changes:
        own = {row["set"]: row for row in rows if row["change"] == change.name}
        cells = [f"{own[name]['best']:.1f} ({own[name]['head']})" for name in names]
        cells += [f"{own[name]['all']:.1f}" for name in names]
        means = [f"{sum(own[name][kind] for name in names) / len(names):.1f}" for kind in ("best", "all")]
        cost = own[names[0]]["cpu_s"]
        body.append([change.name, *cells, *means, "" if cost is None else f"{cost}"])
    header = ["", *(f"{name}: best head" for name in names), *(f"{name}: all" for name in names)]
    run = changes[0].config.run
    return "\n".join(
        [
            "# What each part of the shipped recipe is worth",
            "",
            "Made by `make ablations` (`python -m train ablate`), which trains what is missing and goes on where it "
            f"was stopped: `configs/third-stage.toml` from random weights for {run.max_steps} steps, with what "
            "`configs/ablations.toml` changes. One row alone: `python -m train ablate --only NAME ...`. 5-way 1-shot "
            f"accuracy in %, logistic regression, {SETTINGS.tasks.n_tasks} tasks a set; one seed, so that a point or "
            "two says nothing. The sets are those that the recipe was chosen by.",
            "",
            *table([*header, "mean: best head", "mean: all", "CPU s"], body),
            "",
        ]
    )
