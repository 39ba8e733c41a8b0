"""Several reports side by side: paired differences on the same tasks, and ranks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from train.errors import EvaluationError
from train.evaluate.encoders import ALL_HEADS
from train.evaluate.evaluation import FORMAT
from train.evaluate.probing.intervals import estimate, estimate_share
from train.files import read_npz

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A folder that :func:`train.evaluate.reports.report.write_report` has written."""

    folder: Path
    document: Row
    arrays: dict[str, npt.NDArray[Any]]

    def head(self, set_name: str, k_shot: int, wanted: str | None, probe: str) -> str | None:
        """The head to compare: the one asked for, or all together, or the only one."""
        prefix, suffix = f"{set_name}/{k_shot}/", f"/{probe}"
        heads = [
            key[len(prefix) : -len(suffix)] for key in self.arrays if key.startswith(prefix) and key.endswith(suffix)
        ]
        if wanted is not None:
            return wanted if wanted in heads else None
        return ALL_HEADS if ALL_HEADS in heads else heads[0] if heads else None


def read_report(folder: Path) -> StoredReport:
    """Read a report's folder.

    Raises:
        EvaluationError: If it is none, or damaged.
    """
    try:
        document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        arrays = read_npz(folder / "tasks.npz")
    except (OSError, ValueError) as err:
        raise EvaluationError(
            f"{folder} is not a report ({err}): pass folders that `python -m train evaluate --out` has written"
        ) from err
    if document.get("format") != FORMAT:
        raise EvaluationError(f"{folder} is a report of format {document.get('format')}, not {FORMAT}: evaluate again")
    return StoredReport(folder, document, arrays)


def compare_reports(folders: Sequence[Path], *, head: str | None = None, probe: str = "logistic") -> Row:
    """Accuracies of all, differences from the first one on the same tasks, and ranks.

    Args:
        folders: Of the reports, the first one being what the others are compared with.
        head: Which one; None for all heads together.
        probe: By which classifier.

    Returns:
        ``subjects``; ``rows``, one for each set and number of shots that all have, with ``accuracy``, ``difference``
        (``mean``, ``low``, ``high``; None for the first) and ``rank`` of each; ``mean`` and ``mean_rank`` over rows.

    Raises:
        EvaluationError: If a folder holds no report, two were evaluated on other tasks, or they share no set.
    """
    reports = [read_report(folder) for folder in folders]
    base = reports[0]
    rows: list[Row] = []
    for entry in base.document["sets"]:
        for tasks in entry["tasks"]:
            name, k_shot = entry["name"], tasks["k_shot"]
            heads = [report.head(name, k_shot, head, probe) for report in reports]
            if None in heads:
                continue
            for report in reports[1:]:
                _require_same_tasks(base, report, name, tasks)
            each = [
                report.arrays[f"{name}/{k_shot}/{chosen}/{probe}"].astype(np.float64)
                for report, chosen in zip(reports, heads, strict=True)
            ]
            classes = base.arrays[f"{name}/{k_shot}"].astype(np.int64)
            means = [float(values.mean()) for values in each]
            rows.append(
                {
                    "set": name,
                    "k_shot": k_shot,
                    "accuracy": [estimate_share(values, classes[: len(values)]).to_dict() for values in each],
                    "difference": [None] + [_difference(values, each[0], classes) for values in each[1:]],
                    "rank": [
                        1 + sum(m > mean for m in means) + (sum(m == mean for m in means) - 1) / 2 for mean in means
                    ],
                }
            )
    if not rows:
        raise EvaluationError(
            f"the reports share no set with {f'the head {head!r} and ' if head else ''}the probe {probe!r}: "
            f"evaluate them alike"
        )
    return {
        "subjects": [report.document["subject"] for report in reports],
        "head": head or ALL_HEADS,
        "probe": probe,
        "rows": rows,
        "mean": [round(float(np.mean([row["accuracy"][i]["mean"] for row in rows])), 4) for i in range(len(reports))],
        "mean_rank": [round(float(np.mean([row["rank"][i] for row in rows])), 2) for i in range(len(reports))],
    }


def _difference(
    values: npt.NDArray[np.float64], first: npt.NDArray[np.float64], classes: npt.NDArray[np.int64]
) -> dict[str, float | bool]:
    n = min(len(values), len(first))
    return estimate(values[:n] - first[:n], classes[:n]).to_dict()


def _require_same_tasks(base: StoredReport, other: StoredReport, name: str, tasks: Row) -> None:
    for entry in other.document["sets"]:
        for theirs in entry["tasks"]:
            if entry["name"] == name and theirs["k_shot"] == tasks["k_shot"] and theirs["sha256"] != tasks["sha256"]:
                raise EvaluationError(
                    f"{base.folder} and {other.folder} were evaluated on other {tasks['k_shot']}-shot tasks of {name}: "
                    f"evaluate both with the same --seed, --tasks, --n-way, --n-queries and --apart"
                )


def comparison_markdown(comparison: Row) -> str:
    """The comparison as a table: accuracy in percent, and in brackets the interval of the difference from the first."""
    subjects = comparison["subjects"]
    lines = [
        f"Accuracy in percent, {comparison['probe']}, head {comparison['head']}; below it the difference from "
        f"{subjects[0]} on the same tasks, with its 95 % interval over tasks and classes. * the interval leaves out 0.",
        "",
        f"| set | shots | {' | '.join(subjects)} |",
        f"| --- | --- | {' | '.join('---:' for _ in subjects)} |",
    ]
    for row in comparison["rows"]:
        cells = []
        for accuracy, difference in zip(row["accuracy"], row["difference"], strict=True):
            cell = f"{100 * accuracy['mean']:.1f}"
            if difference is not None:
                star = "*" if difference["low"] > 0 or difference["high"] < 0 else ""
                mean, low, high = (f"{100 * difference[name]:+.1f}" for name in ("mean", "low", "high"))
                cell += f"<br>{mean} [{low}, {high}]{star}"
            cells.append(cell)
        lines.append(f"| {row['set']} | {row['k_shot']} | {' | '.join(cells)} |")
    lines.append(f"| mean | | {' | '.join(f'{100 * mean:.1f}' for mean in comparison['mean'])} |")
    lines.append(f"| mean rank | | {' | '.join(f'{rank:.2f}' for rank in comparison['mean_rank'])} |")
    return "\n".join(lines) + "\n"
