"""``python -m train results``: train what is missing, evaluate it, and write the table beside the paper's."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from train.checkpoint import LAST
from train.config import Config
from train.corpus.cache import Cache
from train.evaluate.datasets import open_sets
from train.evaluate.encoders import open_encoder
from train.evaluate.evaluation import evaluate
from train.evaluate.reports.compare import StoredReport, read_report
from train.evaluate.reports.report import write_report
from train.evaluate.sets import LabelledSet
from train.evaluate.settings import Settings
from train.evaluate.tasks import TaskSpec
from train.files import save_text
from train.results.document import Corpus, results_markdown
from train.results.figures import draw_results
from train.results.runs import RUNS, train_all

_log = logging.getLogger(__name__)

SETTINGS = Settings(
    k_shots=(1, 5),
    tasks=TaskSpec(n_tasks=1000),
    skip_small=True,
    probes=("logistic", "logistic-c100", "prototype", "sgd"),
    invariance=True,
    controls=(),
)
"""How each run is evaluated."""
CONTROLS = ("log-mel-statistics", "mfcc-statistics")


def make_results(
    base: Config, cache: Path, sets: Sequence[str], out: Path, docs: Path, *, progress: bool = True
) -> None:
    """Train, evaluate, write; what is there already is kept.

    Args:
        base: Settings that all runs share.
        cache: The corpus.
        sets: As on the command line of evaluate.
        out: Gets ``runs/`` and ``reports/``.
        docs: Gets ``RESULTS.md`` and its figures.
        progress: Whether to draw bars on stderr.

    Raises:
        TrainingError: If a run was told to stop.
        CorpusError: If the cache or a set is missing.
    """
    opened = open_sets(sets)
    train_all(base, cache, out / "runs", show_progress=progress)
    corpus = Cache(cache, verify=False)
    reports = {run: _report(str(out / "runs" / run.folder / LAST), run.folder, opened, out, progress) for run in RUNS}
    controls = {name: _report(name, name, opened, out, progress) for name in CONTROLS}
    figures = draw_results(reports, docs)
    text = results_markdown(base, Corpus(len(corpus.clips), corpus.hours, corpus.sha256), reports, controls, figures)
    path = docs / "RESULTS.md"
    save_text(path, put_into(path.read_text(encoding="utf-8") if path.is_file() else "", text))


def put_into(document: str, text: str, target: str = "results") -> str:
    """A document with ``text`` between the marks of a target of the Makefile, or at its end if it has none.

    The rest stays as people wrote it.
    """
    first, last = f"<!-- from here on written by `make {target}` -->", f"<!-- until here written by `make {target}` -->"
    before, begin, rest = document.partition(first)
    after = rest.partition(last)[2] if begin else ""
    before = before if begin or not before else f"{before.rstrip()}\n\n"
    after = after.removeprefix("\n")
    return f"{before}{first}\n{text}{last}\n{after}"


def _report(subject: str, name: str, sets: Sequence[LabelledSet], out: Path, progress: bool) -> StoredReport:
    """A subject's report, made unless it is there and of the same weights, sets and settings."""
    folder = out / "reports" / name
    wanted = {
        "fingerprint": open_encoder(subject).fingerprint,
        "settings": json.loads(json.dumps(asdict(SETTINGS))),
        "sets": [labelled.sha256() for labelled in sets],
    }
    if (folder / "results.json").is_file():
        stored = read_report(folder)
        found = {name: stored.document[name] for name in ("fingerprint", "settings")}
        if {**found, "sets": [entry["sha256"] for entry in stored.document["sets"]]} == wanted:
            return stored
    _log.info("evaluating %s", name)
    write_report(evaluate(subject, sets, SETTINGS, out / "cache", progress=progress), folder)
    return read_report(folder)
