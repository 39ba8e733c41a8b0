"""What whitening is worth: few-shot accuracy of a checkpoint's heads by the power of their spread divided out."""

from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.graph.checkpoint_network import read_network
from export.graph.whitening import OTHER_POWER, POWERS, Whitening
from export.model_export import draw_windows
from export.proof.few_shot_sets import ALL_HEADS, accuracies, read_sets
from export.proof.reference import Reference, audible
from train.corpus.cache import Cache
from train.evaluate.probing.probes import unit_length
from train.evaluate.reports.report import table

TRIED = (0.0, 0.25, 0.5, 0.75, 1.0)
CHOSEN_BY = ("esc10", "fsdd", "fsdd by speaker")
"""The sets that a recipe may be chosen by."""


def whitening_table(checkpoint: Path, corpus: Path, fewshot: Path, n_episodes: int) -> list[dict[str, Any]]:
    """5-way 1-shot accuracy in percent, logistic regression, of each head and set for each power.

    Raises:
        ExportError: If the folder of labelled sets has none of :data:`CHOSEN_BY`.
        CheckpointError: If the checkpoint is missing or damaged.
        CorpusError: If the corpus is missing.
    """
    trained = read_network(checkpoint)
    config = trained.config
    heads = [head.name for head in trained.network.heads]
    reference = Reference(trained, heads, draw_windows(Cache(corpus), config).mean)
    sets = read_sets(fewshot, config.clip_samples, config.frontend.sample_rate)
    sets = [s for s in sets if s.labelled.name in CHOSEN_BY]
    if not sets:
        raise ExportError(f"{fewshot} has none of {', '.join(CHOSEN_BY)}: whitening is chosen by these")
    rows = []
    for windowed in sets:
        raw, heard = reference.raw(windowed.windows), audible(windowed.windows)
        for power in (*TRIED, None):
            whitenings = {name: Whitening.of(name, reference.corpus[name], power) for name in heads}
            values = {name: heard * unit_length(whitenings[name].apply(raw[name])) for name in heads}
            embeddings = windowed.averaged(values)
            found = accuracies(windowed, embeddings, k_shot=1, n_episodes=n_episodes, classifier="logistic")
            rows += [
                {"set": windowed.labelled.name, "power": power, "head": head, "accuracy": round(mean, 1)}
                for head, (mean, _) in found.items()
            ]
    return rows


def whitening_markdown(rows: list[dict[str, Any]]) -> str:
    """A table: heads by powers, the means over the sets; and the powers that are taken, with each set's accuracy."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    body = []
    for head in dict.fromkeys(row["head"] for row in rows):
        cells = []
        for power in (*TRIED, None):
            found = [row["accuracy"] for row in rows if row["head"] == head and row["power"] == power]
            cells.append(f"{sum(found) / len(found):.1f}")
        taken = "" if head == ALL_HEADS else f"{POWERS.get(head, OTHER_POWER):g}"
        body.append([head, *cells[:-1], taken, cells[-1]])
    header = ["head", *(f"{power:g}" for power in TRIED), "taken", "with the powers taken"]
    return "\n".join([f"Mean of {', '.join(names)}, by power:", "", *table(header, body)])
