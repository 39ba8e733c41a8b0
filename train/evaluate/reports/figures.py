"""The report's figures, as PNG files of the report's folder."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from train.augment.chain import AUGMENTATIONS
from train.evaluate.encoders import ALL_HEADS
from train.files import save_bytes

Row = dict[str, Any]

_DPI = 110
_MOST_CLASSES = 60
"""More are not told apart in a figure."""
_COLOURS = ("#1f5a94", "#e08214", "#4d9221", "#8073ac", "#35978f", "#c51b7d")
_GREYS = ("#bdbdbd", "#8a8a8a", "#5e5e5e")


def draw_figures(document: Row, out: Path) -> dict[str, str]:
    """Draw all that there is something to draw of.

    Returns:
        The names of the files, by what they show.
    """
    figures: dict[str, str] = {}

    def keep(what: str, name: str, figure: Figure | None) -> None:
        if figure is not None:
            save_figure(figure, out / name)
            figures[what] = name

    keep("bars", "accuracy.png", bars(document))
    keep("det", "open-set.png", detection_curves(document))
    keep("invariance", "invariance.png", heat_map(document))
    for report in document["sets"]:
        name = f"confusion-{report['name'].replace(' ', '-')}.png"
        keep(f"confusion {report['name']}", name, confusion(report))
    return figures


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG file in one piece."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    save_bytes(path, buffer.getvalue())


def bars(document: Row) -> Figure | None:
    """Accuracy of each head by the main probe, with intervals, beside the controls."""
    probe = document["settings"]["probes"][0]
    k_shots = [  # sets whose classes are too small for some may have been all there are
        k
        for k in document["settings"]["k_shots"]
        if any((r["k_shot"], r["probe"]) == (k, probe) for s in document["sets"] for r in s["accuracy"])
    ]
    if not k_shots:
        return None
    n_sets = len(document["sets"])
    figure = Figure(figsize=(4.5 + 1.2 * n_sets, 3.2 * len(k_shots)), layout="constrained")
    for row, k_shot in enumerate(k_shots):
        axes = figure.add_subplot(len(k_shots), 1, row + 1)
        series: dict[str, list[Row | None]] = {}
        for place, report in enumerate(document["sets"]):
            found = {r["head"]: r for r in report["accuracy"] if r["k_shot"] == k_shot and r["probe"] == probe}
            for name, rows in document["controls"].items():
                mine = [r for r in rows if (r["set"], r["k_shot"], r["probe"]) == (report["name"], k_shot, probe)]
                if mine:
                    found[name] = mine[0]
            for name, entry in found.items():
                series.setdefault(name, [None] * n_sets)[place] = entry
        _grouped_bars(axes, series, document)
        axes.set_xticks(range(n_sets), [report["name"] for report in document["sets"]])
        axes.set_ylabel(f"accuracy, {k_shot}-shot (%)")
        axes.axhline(100 / document["settings"]["tasks"]["n_way"], color="black", linewidth=0.8, linestyle=":")
        if row == 0:
            axes.legend(fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return figure


def _grouped_bars(axes: Axes, series: dict[str, list[Row | None]], document: Row) -> None:
    names = sorted(series, key=lambda name: (name not in document["controls"], name == ALL_HEADS))
    width = 0.8 / len(names)
    colours = {name: _GREYS[i % len(_GREYS)] for i, name in enumerate(document["controls"])}
    for i, name in enumerate(n for n in names if n not in colours):
        colours[name] = _COLOURS[i % len(_COLOURS)]
    for i, name in enumerate(names):
        there = [(place, entry) for place, entry in enumerate(series[name]) if entry is not None]
        x = [place + (i - (len(names) - 1) / 2) * width for place, _ in there]
        mean = np.array([100 * entry["mean"] for _, entry in there])
        low = np.array([100 * entry["low"] for _, entry in there])
        high = np.array([100 * entry["high"] for _, entry in there])
        errors = np.maximum([mean - low, high - mean], 0)
        axes.bar(x, mean, width * 0.92, label=name, color=colours[name], yerr=errors, error_kw={"linewidth": 0.8})
    axes.set_ylim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)


def detection_curves(document: Row) -> Figure | None:
    """False accepts against false rejects of the main probe on all heads, and of plug-ins."""
    probe = document["settings"]["probes"][0]
    k_shots = [
        k
        for k in document["settings"]["k_shots"]
        if any(r["k_shot"] == k for s in document["sets"] for r in s["open_set"])
    ]
    if not k_shots:
        return None
    figure = Figure(figsize=(4.6 * len(k_shots), 4.2), layout="constrained")
    for column, k_shot in enumerate(k_shots):
        axes = figure.add_subplot(1, len(k_shots), column + 1)
        for place, report in enumerate(document["sets"]):
            found = [r for r in report["open_set"] if r["k_shot"] == k_shot]
            heads = [r["head"] for r in found if r["probe"] == probe]
            main = ALL_HEADS if ALL_HEADS in heads else heads[0] if heads else None
            for row in found:
                plug_in = ":" in row["probe"]
                if plug_in or (row["probe"] == probe and row["head"] == main):
                    axes.plot(
                        100 * np.array(row["false_accept"]),
                        100 * np.array(row["false_reject"]),
                        color=_COLOURS[place % len(_COLOURS)],
                        linestyle="--" if plug_in else "-",
                        label=f"{report['name']}{', ' + row['head'] if plug_in else ''}",
                    )
        axes.plot([0, 100], [100, 0], color="black", linewidth=0.8, linestyle=":")
        axes.set_xlabel("clips of other classes accepted (%)")
        axes.set_ylabel("queries rejected (%)")
        axes.set_title(f"{k_shot}-shot, {probe}", fontsize=9)
        axes.legend(fontsize=7, frameon=False)
        axes.set(xlim=(0, 100), ylim=(0, 100))
    return figure


def heat_map(document: Row) -> Figure | None:
    """How far each augmentation moves each head."""
    found = document.get("invariance")
    if not found:
        return None
    heads = list(found["heads"])
    values = np.array([[found["heads"][head][name]["relative"] for name in AUGMENTATIONS] for head in heads])
    return draw_heat_map(values, heads, [name.replace("_", " ") for name in AUGMENTATIONS])


def draw_heat_map(values: np.ndarray[Any, np.dtype[Any]], rows: list[str], columns: list[str]) -> Figure:
    """(rows, columns) shares of the distance to another clip, each written into its cell."""
    figure = Figure(figsize=(2.4 + 0.85 * len(columns), 1.3 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=max(1.0, float(values.max())), aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    for i, j in np.ndindex(*values.shape):
        axes.text(
            j,
            i,
            f"{values[i, j]:.2f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if values[i, j] < 0.6 else "black",
        )
    figure.colorbar(image, label="distance moved / distance to another clip")
    return figure


def confusion(report: Row) -> Figure | None:
    """Shares of each class's queries that were given to each class."""
    found = report["confusion"]
    names = found["classes"]
    if len(names) > _MOST_CLASSES:
        return None
    counts = np.array(found["counts"], dtype=float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    size = 2.5 + 0.22 * len(names)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set(xlabel="given", ylabel="true")
    axes.set_title(f"{report['name']}, {found['k_shot']}-shot, {found['probe']}, {found['head']}", fontsize=8)
    figure.colorbar(image, label="% of the class's queries, over all tasks", shrink=0.8)
    return figure
