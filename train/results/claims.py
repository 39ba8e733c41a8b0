"""What the paper says of its tables, each asked of ours: yes, no, or within the interval."""

import numpy as np

from train.augment.chain import AUGMENTATIONS
from train.config import INVARIANT, SENSITIVE
from train.evaluate.reports.report import table
from train.results.measured import DoubleArray, Figure, Measured, rank_correlation
from train.results.published import ACCURACY, DISTANCE, WEIGHT_SHARE
from train.results.runs import RUNS, VariantRun

CRITICAL = 0.79
"""Spearman's correlation of seven pairs that chance exceeds in 5 % of cases (two-sided)."""
ADAPTED = ("MT-Bn", "MT-Series", "MT-Parallel")


def claims_table(measured: Measured, probe: str) -> list[str]:
    """One row for each claim: the paper's figure, ours, and whether they agree."""
    rows = [*_accuracy_claims(measured, probe), *_invariance_claims(measured)]
    return table(["claim", "paper", "here", "agrees"], rows)


def _find(name: str, contrastive: str) -> VariantRun:
    return next(run for run in RUNS if (run.name, run.contrastive) == (name, contrastive))


def _verdict(figure: Figure, positive: bool) -> str:
    """Whether a difference has the sign that it should have, if it is known to have one."""
    if figure.low <= 0 <= figure.high:
        return f"in sign alone: {'yes' if (figure.mean > 0) == positive else 'no'}; the interval holds 0"
    return "yes" if (figure.mean > 0) == positive else "no"


def _accuracy_claims(measured: Measured, probe: str) -> list[list[str]]:
    rows = []

    def gain_of(name: str, contrastive: str, text: str, positive: bool) -> None:
        printed = ACCURACY[contrastive]
        paper = float(np.mean(printed[name]) - np.mean(printed["Cont Only"]))
        run = _find(name, "simclr" if name == "Pred Only" else contrastive)
        figure = measured.gain(run, _find("Cont Only", contrastive), 1, probe)
        rows.append([text, f"{paper:+.1f}", figure.signed, _verdict(figure, positive)])

    for name in ADAPTED:
        gain_of(name, "simclr", f"{name} is better than contrastive learning alone (mean over sets, SimCLR)", True)
    gain_of("MT-Parallel", "simsiam", "MT-Parallel is better than contrastive learning alone (SimSiam)", True)
    gain_of("MT-Split", "simclr", "a split last layer alone is worse", False)
    gain_of("Pred Only", "simclr", "prediction alone is much worse", False)
    runs = measured.runs("simclr")
    mine = [measured.mean(run, 1, probe).mean for run in runs]
    theirs = [float(np.mean(ACCURACY["simclr"][run.name])) for run in runs]
    value = rank_correlation(mine, theirs)
    agrees = "yes" if value >= CRITICAL else f"not beyond chance (from {CRITICAL} on)"
    rows.append(["order of the variants' means (Spearman's correlation, SimCLR)", "1", f"{value:+.2f}", agrees])
    return rows


def _invariance_claims(measured: Measured) -> list[list[str]]:
    def relative(name: str, head: str) -> DoubleArray:
        entry = measured.reports[_find(name, "simclr")].document["invariance"]["heads"][head]
        return np.array([entry[kind]["relative"] for kind in AUGMENTATIONS])

    def published(name: str, head: str) -> DoubleArray:
        return np.array(DISTANCE[name, head])

    def minded_more(text: str, less: tuple[str, str], more: tuple[str, str]) -> list[str]:
        """How many augmentations move ``more`` farther than ``less``."""
        paper = int((published(*more) > published(*less)).sum())
        count = int((relative(*more) > relative(*less)).sum())
        return [text, f"{paper} of 7", f"{count} of 7", _yes(count >= 4)]

    text = "prediction alone minds most augmentations more than contrastive learning alone"
    rows = [minded_more(text, ("Cont Only", INVARIANT), ("Pred Only", SENSITIVE))]
    for name in ADAPTED:
        text = f"the predictive head of {name} minds most augmentations more than its contrastive head"
        rows.append(minded_more(text, (name, INVARIANT), (name, SENSITIVE)))
    paper, mine = (
        [float(np.abs(of(name, SENSITIVE) / of(name, INVARIANT) - 1).mean()) for name in ("MT-Split", "MT-Parallel")]
        for of in (published, relative)
    )
    text = "the heads of MT-Split differ less than those of MT-Parallel (mean relative difference of distances)"
    shown = (f"{100 * split:.0f} % and {100 * parallel:.0f} %" for split, parallel in (paper, mine))
    rows.append([text, *shown, _yes(mine[0] < mine[1])])
    for name, share in WEIGHT_SHARE.items():
        sets = measured.reports[_find(name, "simclr")].document["sets"]
        weight = float(np.mean([entry["weight_shares"][SENSITIVE] for entry in sets]))
        text = f"linear classifiers weigh the predictive head of {name} more (its share)"
        rows.append([text, f"{share:.2f}", f"{weight:.2f}", _yes(weight > 0.55)])
    return rows


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
