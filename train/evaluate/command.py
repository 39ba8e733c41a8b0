"""What ``python -m train evaluate`` and ``compare`` do once their arguments are read."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from train.errors import CorpusError
from train.evaluate.datasets import open_sets
from train.evaluate.evaluation import evaluate
from train.evaluate.reports.compare import compare_reports, comparison_markdown
from train.evaluate.reports.curve import draw_curve
from train.evaluate.reports.report import write_report
from train.evaluate.settings import Settings
from train.evaluate.tasks import TaskSpec
from train.files import save_text


def run_evaluate(args: argparse.Namespace) -> int:
    """Evaluate, print each accuracy as a JSON line, write the report's folder."""
    spec = TaskSpec(n_way=args.n_way, n_queries=args.n_queries, n_tasks=args.tasks, seed=args.seed, apart=args.apart)
    settings = Settings(
        k_shots=tuple(args.k_shots),
        tasks=spec,
        skip_small=args.skip_small_classes,
        probes=tuple(args.probes),
        plug_in_tasks=args.plug_in_tasks,
        robustness_tasks=args.robustness_tasks if args.robustness else 0,
        invariance=args.invariance,
        controls=args.controls,
    )
    sets = open_sets(args.sets)
    names = [labelled.name for labelled in sets]
    if len(set(names)) < len(names):
        raise CorpusError(f"two sets have one name ({', '.join(names)}): rename a folder")
    result = evaluate(args.subject, sets, settings, args.cache, progress=not args.quiet, told=_tell)
    out = args.out or Path("build/evaluation") / (re.sub(r"[^\w.-]+", "-", args.subject).strip("-.") or "subject")
    write_report(result, out)
    print(json.dumps({"report": str(out / "report.md")}), flush=True)
    return 0


def run_curve(args: argparse.Namespace) -> int:
    """Draw a run, print each accuracy as a JSON line."""
    for row in draw_curve(args.run_folder, open_sets(args.sets), args.cache, args.figure, args.tasks):
        print(json.dumps(row), flush=True)
    return 0


def _tell(row: dict[str, Any]) -> None:
    shown = {name: row[name] for name in ("set", "k_shot", "head", "probe")}
    figures = {"accuracy": row["mean"], "low": row["low"], "high": row["high"]}
    print(json.dumps({**shown, **{name: round(100 * value, 1) for name, value in figures.items()}}), flush=True)


def run_compare(args: argparse.Namespace) -> int:
    """Put reports side by side."""
    comparison = compare_reports(args.reports, head=args.head, probe=args.probe)
    text = comparison_markdown(comparison)
    if args.out:
        save_text(args.out / "comparison.json", json.dumps(comparison, indent=1) + "\n")
        save_text(args.out / "comparison.md", text)
    print(text, end="")
    return 0
