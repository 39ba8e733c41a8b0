"""A report's folder: ``results.json``, ``tasks.npz``, ``report.md`` and its figures."""

import json
from pathlib import Path
from typing import Any

from train.augment.chain import AUGMENTATIONS
from train.evaluate.evaluation import Evaluation
from train.evaluate.reports.figures import draw_figures
from train.files import save_npz, save_text

Row = dict[str, Any]

_APART = {
    "class": "queries share no group with the support of their class",
    "task": "queries share no group with any support of their task",
    "mixed": "queries and support may share groups",
}


def write_report(evaluation: Evaluation, out: Path) -> None:
    """Write the folder; what was in it under these names is replaced.

    Raises:
        TrainingError: If it cannot be written.
    """
    document = evaluation.document
    save_npz(out / "tasks.npz", **evaluation.arrays)
    save_text(out / "results.json", json.dumps(document, indent=1) + "\n")
    figures = draw_figures(document, out)
    save_text(out / "report.md", report_markdown(document, figures))


def report_markdown(document: Row, figures: dict[str, str]) -> str:
    """The whole report.

    Args:
        document: As in ``results.json``.
        figures: Names of the figures' files, by what they show.
    """
    lines = [f"# {document['subject']}", ""]
    lines += _how(document)
    if "bars" in figures:
        lines += [f"![accuracy]({figures['bars']})", ""]
    lines += _accuracy_tables(document)
    lines += _set_table(document)
    lines += _open_set_table(document, figures)
    lines += _robustness_table(document)
    lines += _invariance_table(document, figures)
    lines += _weight_table(document)
    confusions = [name for what, name in figures.items() if what.startswith("confusion")]
    if confusions:
        lines += ["## Confusions", "", *(f"![confusions]({name})" for name in confusions), ""]
    return "\n".join(lines).rstrip() + "\n"


def cell(row: Row) -> str:
    """A figure in percent with its interval."""
    return f"{100 * row['mean']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table, its first column to the left, the others to the right."""
    rule = " | ".join(["---"] + ["---:"] * (len(header) - 1))
    return [f"| {' | '.join(header)} |", f"| {rule} |", *(f"| {' | '.join(row)} |" for row in rows), ""]


def _how(document: Row) -> list[str]:
    settings = document["settings"]
    tasks = settings["tasks"]
    return [
        f"{tasks['n_way']}-way, {' and '.join(str(k) for k in settings['k_shots'])} shots, up to {tasks['n_queries']} "
        f"queries a class, {tasks['n_tasks']} tasks, seed {tasks['seed']}; {_APART[tasks['apart']]}. "
        "Accuracy in percent with its 95 % interval over classes and tasks (bootstrap). Chance is "
        f"{100 / tasks['n_way']:.0f} %. Model {document['fingerprint']}, code {document['commit'][:12]}.",
        "",
    ]


def _accuracy_tables(document: Row) -> list[str]:
    lines = ["## Accuracy", ""]
    for k_shot in document["settings"]["k_shots"]:
        rows = []
        for report in document["sets"]:
            found = [row for row in report["accuracy"] if row["k_shot"] == k_shot]
            for head in dict.fromkeys(row["head"] for row in found):
                cells = {row["probe"]: cell(row) for row in found if row["head"] == head}
                rows.append([report["name"], head, *(cells.get(p, "") for p in document["settings"]["probes"])])
        for name, found in document["controls"].items():
            found = [row for row in found if row["k_shot"] == k_shot]
            for set_name in dict.fromkeys(row["set"] for row in found):
                cells = {row["probe"]: cell(row) for row in found if row["set"] == set_name}
                rows.append([set_name, f"*{name}*", *(cells.get(p, "") for p in document["settings"]["probes"])])
        if rows:
            rows.sort(key=lambda row: row[0])
            lines += [f"{k_shot}-shot:", "", *table(["set", "head", *document["settings"]["probes"]], rows)]
    return lines


def _set_table(document: Row) -> list[str]:
    rows = []
    notes = []
    for report in document["sets"]:
        for tasks in report["tasks"]:
            left_out = f"{len(tasks['left_out'])} left out" if tasks["left_out"] else ""
            rows.append(
                [
                    report["name"],
                    str(report["n_clips"]),
                    str(report["n_classes"]),
                    str(report["n_groups"] or "none known"),
                    f"{tasks['k_shot']}",
                    str(tasks["fewest_queries"]),
                    left_out,
                    f"`{tasks['sha256'][:16]}`",
                ]
            )
        notes += [f"- {report['name']}: {note}" for note in report["notes"]]
        if not all(row["counts_classes"] for row in report["accuracy"]):
            notes.append(f"- {report['name']}: every task holds all classes, so that its intervals count tasks alone.")
    header = ["set", "clips", "classes", "groups", "shots", "fewest queries of a class", "small classes", "tasks' hash"]
    return ["## Sets and tasks", "", *table(header, rows), *notes, ""]


def _open_set_table(document: Row, figures: dict[str, str]) -> list[str]:
    probes = document["settings"]["probes"]
    rows = []
    for report in document["sets"]:
        found = report["open_set"]
        for k_shot, head in dict.fromkeys((row["k_shot"], row["head"]) for row in found):
            cells = {
                row["probe"]: f"{cell(row['auroc'])} ({100 * row['equal_error']:.0f})"
                for row in found
                if (row["k_shot"], row["head"]) == (k_shot, head)
            }
            rows.append([report["name"], str(k_shot), head, *(cells.get(probe, "") for probe in probes)])
    if not rows:
        return []
    lines = [
        "## Clips of classes that were not taught",
        "",
        "AUROC, in percent, of telling queries from clips of other classes of the set by the largest score; in "
        "brackets the share where as many are falsely accepted as falsely rejected.",
        "",
        *table(["set", "shots", "head", *probes], rows),
    ]
    return [*lines, f"![false accepts and rejects]({figures['det']})", ""] if "det" in figures else lines


def _robustness_table(document: Row) -> list[str]:
    lines: list[str] = []
    for report in document["sets"]:
        found = report.get("robustness", [])
        heads = list(dict.fromkeys(row["head"] for row in found))
        conditions = list(dict.fromkeys(row["condition"] for row in found))
        cells = {(row["condition"], row["head"]): cell(row) for row in found}
        rows = [[name, *(cells[name, head] for head in heads)] for name in conditions]
        if rows:
            lines += [f"{report['name']}:", "", *table(["condition", *heads], rows)]
    if not lines:
        return []
    about = (
        f"Taught from clean clips, asked about changed ones: {document['settings']['probes'][0]}, "
        f"{document['settings']['k_shots'][0]}-shot, {document['settings']['robustness_tasks']} tasks."
    )
    return ["## Robustness", "", about, "", *lines]


def _invariance_table(document: Row, figures: dict[str, str]) -> list[str]:
    found = document.get("invariance")
    if not found:
        return []
    rows = []
    for head, entry in found["heads"].items():
        cells = [f"{entry[name]['relative']:.2f} ({entry[name]['distance']:.1f})" for name in AUGMENTATIONS]
        rows.append([f"{head} ({entry['size']})", *cells, f"{entry['other_clip']:.1f}"])
    lines = [
        "## Invariance",
        "",
        "How far an augmentation moves an embedding, as a share of the distance to another clip (1: as far; 0: not at "
        "all), and the Mahalanobis distance itself in brackets. Covariance: Ledoit-Wolf, "
        f"{found['n_covariance']} clips; distances: {found['n_held_out']} other clips.",
        "",
        *table(["head (size)", *(name.replace("_", " ") for name in AUGMENTATIONS), "another clip"], rows),
    ]
    return [*lines, f"![invariance]({figures['invariance']})", ""] if "invariance" in figures else lines


def _weight_table(document: Row) -> list[str]:
    found = [(report["name"], report["weight_shares"]) for report in document["sets"] if "weight_shares" in report]
    if not found:
        return []
    heads = list(found[0][1])
    rows = [[name, *(f"{shares[head]:.2f}" for head in heads)] for name, shares in found]
    return [
        "## Share of the linear weight",
        "",
        "Of a linear classifier on all heads together, each dimension standardised.",
        "",
        *table(["set", *heads], rows),
    ]
