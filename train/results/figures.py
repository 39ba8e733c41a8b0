"""The figures of ``docs/RESULTS.md``."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from train.augment.chain import AUGMENTATIONS
from train.evaluate.reports.compare import StoredReport
from train.evaluate.reports.figures import draw_heat_map, save_figure
from train.results.measured import Measured
from train.results.published import ACCURACY
from train.results.runs import VariantRun

PROBE = "logistic"


def draw_results(reports: dict[VariantRun, StoredReport], docs: Path) -> dict[str, str]:
    """Draw into ``docs/figures``.

    Returns:
        The files' places in ``docs``, by what they show.
    """
    first = next(iter(reports.values()))
    measured = Measured(reports, tuple(entry["name"] for entry in first.document["sets"]))
    figures = {"gains": "figures/results-gains.png", "invariance": "figures/results-invariance.png"}
    save_figure(_gains(measured), docs / figures["gains"])
    save_figure(_invariance(measured), docs / figures["invariance"])
    return figures


def _gains(measured: Measured) -> Figure:
    """Gain over contrastive learning alone, here with intervals, and in the paper."""
    names, here, low, high, paper = [], [], [], [], []
    for contrastive in ("simclr", "simsiam"):
        base, *others = measured.runs(contrastive)
        for run in others:
            figure = measured.gain(run, base, 1, PROBE)
            names.append(f"{run.name}\n{contrastive}")
            here.append(figure.mean)
            low.append(figure.mean - figure.low)
            high.append(figure.high - figure.mean)
            printed = ACCURACY[contrastive]
            paper.append(float(np.mean(printed[run.name]) - np.mean(printed[base.name])))
    drawn = Figure(figsize=(9.5, 3.6), layout="constrained")
    axes = drawn.add_subplot()
    x = np.arange(len(names))
    axes.bar(
        x - 0.2, here, 0.38, yerr=np.maximum([low, high], 0), color="#1f5a94", label="here", error_kw={"linewidth": 0.8}
    )
    axes.bar(x + 0.2, paper, 0.38, color="#bdbdbd", label="paper (its ten sets)")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(x, names, fontsize=8)
    axes.set_ylabel("points over Cont Only, 1-shot")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def _invariance(measured: Measured) -> Figure:
    """How far each augmentation moves each head of each SimCLR run."""
    rows, values = [], []
    for run in measured.runs("simclr"):
        for head, entry in measured.reports[run].document["invariance"]["heads"].items():
            if head != "all":
                rows.append(f"{run.name}, {head}")
                values.append([entry[name]["relative"] for name in AUGMENTATIONS])
    return draw_heat_map(np.array(values), rows, [name.replace("_", " ") for name in AUGMENTATIONS])
