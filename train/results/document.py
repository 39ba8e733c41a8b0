"""``docs/RESULTS.md``: the nine runs' tables beside the paper's, and what of the paper's claims they bear out."""

from dataclasses import dataclass

import numpy as np

from train.augment.chain import AUGMENTATIONS
from train.config import INVARIANT, SENSITIVE, Config
from train.evaluate.reports.compare import StoredReport
from train.evaluate.reports.report import cell, table
from train.network.backbone import Backbone
from train.results.claims import claims_table
from train.results.measured import Measured, mean_ranks
from train.results.published import ACCURACY, DISTANCE, SETS, WEIGHT_SHARE
from train.results.runs import VariantRun

PROBE = "logistic"


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was trained on."""

    n_clips: int
    hours: float
    sha256: str


def results_markdown(
    base: Config,
    corpus: Corpus,
    reports: dict[VariantRun, StoredReport],
    controls: dict[str, StoredReport],
    figures: dict[str, str],
) -> str:
    """The whole document.

    Args:
        base: Settings of all runs.
        corpus: What they were trained on.
        reports: Of the nine runs.
        controls: Of the controls, by name.
        figures: Names of the figures' files, by what they show.
    """
    first = next(iter(reports.values()))
    measured = Measured(reports, tuple(entry["name"] for entry in first.document["sets"]))
    lines = ["# The paper's claim, at a size that can be run here", ""]
    lines += _about(base, corpus, measured)
    lines += ["## What agrees with the paper and what does not", "", *claims_table(measured, PROBE)]
    for contrastive, title in (("simclr", "SimCLR"), ("simsiam", "SimSiam")):
        lines += [f"## {title}", "", *_main_table(measured, controls if contrastive == "simclr" else {}, contrastive)]
        lines += _beside_table(measured, contrastive)
    lines += [f"![gains over contrastive learning alone]({figures['gains']})", ""]
    lines += ["## Each head by itself", "", *_head_table(measured)]
    lines += ["## Other classifiers, and five shots", "", *_probe_table(measured)]
    lines += ["## Invariance", "", *_invariance_table(measured), f"![invariance]({figures['invariance']})", ""]
    lines += ["## Share of the linear weight on the predictive head", "", *_weight_table(measured)]
    return "\n".join(lines).rstrip() + "\n"


def _about(base: Config, corpus: Corpus, measured: Measured) -> list[str]:
    first = next(iter(measured.reports.values())).document
    settings = first["settings"]
    rows = []
    for run, report in measured.reports.items():
        config = run.config(base)
        size = sum(p.numel() for p in Backbone(config.model, config.frontend.n_channels).parameters())
        rows.append([run.name, run.contrastive, f"{size:,}", f"`{report.document['fingerprint'][-16:]}`"])
    sets = ", ".join(f"{entry['name']} ({entry['n_classes']} classes)" for entry in first["sets"])
    n_clips = base.run.max_steps * base.run.batch_size
    widths = [
        (row["high"] - row["low"]) / (2 * row["half_width_tasks"])
        for entry in first["sets"]
        for row in entry["accuracy"]
        if row["counts_classes"] and row["half_width_tasks"] > 0
    ]
    return [
        "Made by `make results` (`python -m train results`), which trains what is missing, goes on where it was "
        "stopped and writes this file.",
        "",
        "The paper trains a ResNet-18 of width 64 on AudioSet's 20,550 balanced clips for up to 50,000 steps of 100 "
        f"clips of 5 or 10 s. Here it is width {base.model.width}, {corpus.n_clips:,} clips ({corpus.hours:.1f} hours) "
        f"of freely licensed audio, {base.run.max_steps} steps of {base.run.batch_size} clips of {base.data.clip_s:g} "
        f"s (with {n_clips:,} clips {100 * n_clips / 5_000_000:.1f} % of the paper's), one input channel, and "
        f"embeddings of {2 * base.model.head_dim} dimensions in all. **Networks this small, trained this briefly, can "
        "show whether the order of the variants is already there; they cannot refute the paper.** What the paper's "
        f'code leaves unequal is equal here: all nine have one trunk (`model.trunk = "{base.model.trunk}"`), and the '
        f"same steps, clips, augmentations and seed ({base.run.seed}). One seed: how much another would change is in "
        "no interval below.",
        "",
        f"Evaluated on {sets}: {settings['tasks']['n_way']}-way, up to {settings['tasks']['n_queries']} queries a "
        f"class, {settings['tasks']['n_tasks']} tasks a set, queries in groups apart, multinomial logistic regression "
        "on unit length with C = 1 unless it says otherwise. Brackets are 95 % intervals over classes and tasks; over "
        f"tasks alone, as the paper has them, they would be {np.median(widths):.0f} times as narrow (the median). "
        "Settings: `configs/results.toml`.",
        "",
        *table(["variant", "loss", "parameters", "weights"], rows),
    ]


def _main_table(measured: Measured, controls: dict[str, StoredReport], contrastive: str) -> list[str]:
    names = measured.sets_with(1)
    ranks = measured.ranks(contrastive, 1, PROBE)
    rows = []
    for run in measured.runs(contrastive):
        cells = [str(measured.on(run, name, 1, PROBE)) for name in names]
        rows.append([run.name, *cells, str(measured.mean(run, 1, PROBE)), f"{ranks[run.name]:.1f}"])
    for name, report in controls.items():
        found = {
            entry["name"]: next(r for r in entry["accuracy"] if (r["k_shot"], r["probe"]) == (1, PROBE))
            for entry in report.document["sets"]
        }
        mean = np.mean([100 * found[s]["mean"] for s in names])
        rows.append([f"*{name}*", *(cell(found[s]) for s in names), f"{mean:.1f}", ""])
    return ["Measured, 5-way 1-shot, all heads together:", "", *table(["", *names, "mean", "rank"], rows)]


def _beside_table(measured: Measured, contrastive: str) -> list[str]:
    """Means, ranks and gains over contrastive learning alone, measured and published."""
    published = ACCURACY[contrastive]
    runs = measured.runs(contrastive)
    base = runs[0]
    scores = np.array([published[run.name] for run in runs])
    printed = dict(zip([run.name for run in runs], mean_ranks(scores), strict=True))
    ours = measured.ranks(contrastive, 1, PROBE)
    rows = []
    for run in runs:
        values = published[run.name]
        gain = np.mean(values) - np.mean(published[base.name])
        rows.append(
            [
                run.name,
                str(measured.mean(run, 1, PROBE)),
                "" if run is base else measured.gain(run, base, 1, PROBE).signed,
                f"{ours[run.name]:.1f}",
                f"{np.mean(values):.1f}",
                "" if run is base else f"{gain:+.1f}",
                f"{printed[run.name]:.1f}",
                *(f"{value:.1f}" for value in values),
            ]
        )
    header = ["", "mean here", "gain here", "rank here", "mean in paper", "gain in paper", "rank in paper", *SETS]
    return [
        f"Beside the paper's (its ten sets; ranks among these {len(runs)} rows). * the interval leaves out 0:",
        "",
        *table(header, rows),
    ]


def _head_table(measured: Measured) -> list[str]:
    rows = []
    for run, report in measured.reports.items():
        heads = report.document["sets"][0]["accuracy"]
        names = dict.fromkeys(row["head"] for row in heads)
        cells = {head: str(measured.mean(run, 1, PROBE, head)) for head in names}
        together = cells.get("all", cells.get("shared", ""))
        rows.append([f"{run.name}, {run.contrastive}", cells.get(INVARIANT, ""), cells.get(SENSITIVE, ""), together])
    return [
        "Mean over the sets, 1-shot:",
        "",
        *table(["", "contrastive", "predictive", "both, or the one they share"], rows),
    ]


def _probe_table(measured: Measured) -> list[str]:
    columns = [(1, "sgd"), (1, "prototype"), (5, "logistic"), (5, "logistic-c100")]
    header = ["", *(f"{k}-shot, {probe}" for k, probe in columns)]
    rows = [
        [f"{run.name}, {run.contrastive}", *(str(measured.mean(run, k, probe)) for k, probe in columns)]
        for run in measured.reports
    ]
    return [
        "Mean over the sets that are large enough, all heads together. `sgd` is the paper's classifier, on unscaled "
        "embeddings.",
        "",
        *table(header, rows),
    ]


def _invariance_table(measured: Measured) -> list[str]:
    rows = []
    for run in measured.runs("simclr"):
        for head, entry in measured.reports[run].document["invariance"]["heads"].items():
            if head == "all":
                continue
            printed = DISTANCE[run.name, head]
            cells = [f"{entry[name]['relative']:.2f} ({entry[name]['distance']:.1f})" for name in AUGMENTATIONS]
            rows.append([f"{run.name}, {head}", *cells])
            rows.append(["*paper*", *(f"*{value:.1f}*" for value in printed)])
    found = next(iter(measured.reports.values())).document["invariance"]
    return [
        "How far each augmentation moves a head's embedding: as a share of the distance to another clip, in brackets "
        f"the Mahalanobis distance (Ledoit-Wolf covariance of {found['n_covariance']} clips of the sets, distances of "
        f"{found['n_held_out']} others), SimCLR. The paper does not say what its distances are to be compared with: "
        "two unrelated clips lie about 44.7 apart in 1,000 whitened dimensions, 31.6 in 500.",
        "",
        *table(["", *(name.replace("_", " ") for name in AUGMENTATIONS)], rows),
    ]


def _weight_table(measured: Measured) -> list[str]:
    names = measured.sets_with(1)
    rows = []
    for run, report in measured.reports.items():
        shares = {entry["name"]: entry.get("weight_shares", {}).get(SENSITIVE) for entry in report.document["sets"]}
        if shares[names[0]] is None:
            continue
        values = [shares[name] for name in names]
        printed = f"{WEIGHT_SHARE[run.name]:.2f}" if run.contrastive == "simclr" else ""
        cells = [f"{value:.2f}" for value in values]
        rows.append([f"{run.name}, {run.contrastive}", *cells, f"{np.mean(values):.2f}", printed])
    return [
        "Of a linear classifier on both heads, each dimension standardised. The paper's are not: a share of one half "
        "here says that what is uneven there is the heads' scale.",
        "",
        *table(["", *names, "mean", "mean in paper"], rows),
    ]
