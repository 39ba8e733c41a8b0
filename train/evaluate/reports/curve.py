"""A run as it went: its losses, and the few-shot accuracy of the weights that were kept along the way."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from train.checkpoint import SUFFIX
from train.errors import TrainingError
from train.evaluate.encoders import ALL_HEADS
from train.evaluate.evaluation import evaluate
from train.evaluate.reports.figures import save_figure
from train.evaluate.sets import LabelledSet
from train.evaluate.settings import Settings
from train.evaluate.tasks import TaskSpec
from train.files import save_text

_LOSSES = ("distil", "contrastive", "mlap")
_PROBE = "prototype"


def draw_curve(run: Path, sets: Sequence[LabelledSet], cache: Path, figure: Path, n_tasks: int) -> list[dict[str, Any]]:
    """Evaluate each ``step-*.safetensors`` of a run (1-shot, nearest prototype) and draw all of it.

    Args:
        run: Folder of the run.
        sets: What on.
        cache: Gets embeddings and tasks.
        figure: A PNG file; the same figures go into a JSON file beside it.
        n_tasks: Tasks of each set.

    Returns:
        A row for each step, set and head: ``step``, ``set``, ``head``, ``accuracy`` in %.

    Raises:
        TrainingError: If the run kept no weights or wrote no metrics.
    """
    kept = sorted(run.glob(f"step-*{SUFFIX}"))
    metrics = run / "metrics.jsonl"
    if not kept or not metrics.is_file():
        raise TrainingError(f"{run} holds no step-*{SUFFIX} and metrics.jsonl: train with run.keep_every above 0")
    settings = Settings(k_shots=(1,), tasks=TaskSpec(n_tasks=n_tasks), skip_small=True, probes=(_PROBE,), controls=())
    rows = []
    for path in kept:
        step = int(re.sub(r"\D", "", path.stem))
        for report in evaluate(str(path), sets, settings, cache).document["sets"]:
            found = [row for row in report["accuracy"] if row["probe"] == _PROBE]
            rows += [
                {"step": step, "set": report["name"], "head": r["head"], "accuracy": round(100 * r["mean"], 1)}
                for r in found
            ]
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    save_figure(_draw(lines, rows), figure)
    save_text(figure.with_suffix(".json"), json.dumps(rows, indent=0) + "\n")
    return rows


def _draw(lines: list[dict[str, float]], rows: list[dict[str, Any]]) -> Figure:
    names = list(dict.fromkeys(row["set"] for row in rows))
    heads = list(dict.fromkeys(row["head"] for row in rows))
    losses = [name for name in _LOSSES if name in lines[0]]
    figure = Figure(figsize=(3.1 * max(len(names), len(losses)), 5.6), layout="constrained")
    grid = GridSpec(2, 1, figure)
    upper, lower = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    for axes, name in zip(np.atleast_1d(upper.subplots(1, len(losses))), losses, strict=True):
        steps = np.array([line["step"] for line in lines])
        values = np.array([line[name] for line in lines])
        width = max(1, len(values) // 100)
        n = len(values) // width * width
        axes.plot(steps[:n].reshape(-1, width)[:, -1], values[:n].reshape(-1, width).mean(axis=1), color="#1f5a94")
        held_out = [(line["step"], line[f"val_{name}"]) for line in lines if f"val_{name}" in line]
        if held_out:
            axes.plot(*np.array(held_out).T, color="#e08214", linewidth=1)
        axes.set_title(f"{name} loss", fontsize=9)
    upper.legend(["training", "validation"], loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    for axes, name in zip(np.atleast_1d(lower.subplots(1, len(names))), names, strict=True):
        for number, head in enumerate(heads):
            curve = [(row["step"], row["accuracy"]) for row in rows if (row["set"], row["head"]) == (name, head)]
            colour = "black" if head == ALL_HEADS else f"C{number}"
            axes.plot(*np.array(curve).T, marker=".", color=colour)
        axes.set_title(f"{name}, 1-shot, %", fontsize=9)
    lower.legend(heads, loc="outside lower center", ncols=len(heads), frameon=False, fontsize=8)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
        axes.set_xlabel("steps", fontsize=8)
    return figure
