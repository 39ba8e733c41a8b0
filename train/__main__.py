"""``python -m train COMMAND``: results to stdout, everything else to stderr."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from train.errors import EarmarkError

DEFAULT_ADAPTATION = {
    "optim": {"lr": 3e-4, "warmup_steps": 50},
    "run": {"max_steps": 1000, "val_every": 100, "checkpoint_every_s": 60.0},
}
"""The settings of ``configs/adapt.toml``."""


def _report(result: dict[str, object]) -> None:
    """Print a run's result, once if several processes share it."""
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(result), flush=True)


def _corpus(args: argparse.Namespace) -> int:
    from train.debian.build import build_corpus
    from train.debian.tools import Recipe

    corpus = build_corpus(
        args.out,
        Recipe(max_files=args.max_files),
        only=args.only,
        n_synthetic=args.synth_speech,
        strict_versions=args.strict_versions,
        keep_work=args.keep_work,
        progress=not args.quiet,
    )
    print(json.dumps({"corpus": str(corpus), "manifest": str(corpus / "manifest.csv")}))
    return 0


def _cache(args: argparse.Namespace) -> int:
    from train.config import Config, load_config
    from train.corpus.cache import build_cache

    config = load_config(args.config) if args.config else Config()
    cache = build_cache(args.audio, args.out, config.frontend.sample_rate, progress=not args.quiet)
    print(json.dumps({"clips": len(cache.clips), "hours": round(cache.hours, 2), "sha256": cache.sha256}))
    return 0


def _speeds(args: argparse.Namespace) -> int:
    from train.corpus.speeds import copy_at_speeds

    n_copies = copy_at_speeds(args.audio, args.out, args.sample_rate, progress=not args.quiet)
    print(json.dumps({"copies": n_copies, "folder": str(args.out)}))
    return 0


def _pretrain(args: argparse.Namespace) -> int:
    from train.allocator import keep_freed_memory
    from train.config import load_config
    from train.run.start import pretrain

    keep_freed_memory()
    progress = pretrain(
        load_config(args.config),
        args.cache,
        args.out,
        resume=args.resume,
        device=args.device,
        show_progress=not args.quiet,
        teachers=args.teachers,
        verify=not args.no_verify,
        start_from=args.start_from,
    )
    _report({"step": progress.step, "val_loss": progress.last_val, "finished": progress.finished})
    return 0


def _adapt(args: argparse.Namespace) -> int:
    from train.allocator import keep_freed_memory
    from train.checkpoint import LAST, checkpoint_config, read_checkpoint
    from train.config import read_toml
    from train.corpus.cache import build_cache
    from train.run.start import adapt

    keep_freed_memory()
    trained = checkpoint_config(read_checkpoint(args.checkpoint), args.checkpoint)
    cache = args.cache or args.out / "cache"
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:  # several processes take one that is there: they would collide
        build_cache(args.audio, cache, trained.frontend.sample_rate, progress=not args.quiet)
    progress = adapt(
        args.checkpoint,
        read_toml(args.config) if args.config else DEFAULT_ADAPTATION,
        cache,
        args.out,
        resume=args.resume,
        device=args.device,
        show_progress=not args.quiet,
    )
    _report(
        {
            "step": progress.step,
            "val_loss": progress.last_val,
            "finished": progress.finished,
            "checkpoint": str(args.out / LAST),
        }
    )
    return 0


def _compact(args: argparse.Namespace) -> int:
    from train.checkpoint import compact_checkpoint

    print(json.dumps({"checkpoint": str(args.out), "bytes": compact_checkpoint(args.checkpoint, args.out)}))
    return 0


def _teachers(args: argparse.Namespace) -> int:
    from train.config import load_config
    from train.corpus.cache import Cache
    from train.teachers import build_targets

    config, cache = load_config(args.config), Cache(args.cache)
    for name, domains in zip(config.distil.teachers, config.distil.domains, strict=True):
        teacher = args.teachers / f"{name}.onnx"
        folder = build_targets(cache, teacher, config.clip_samples, domains, progress=not args.quiet)
        print(json.dumps({"teacher": name, "targets": str(folder)}), flush=True)
    return 0


def _teacher_file(args: argparse.Namespace) -> int:
    from train.teacher_files import make_teacher

    difference = make_teacher(args.name, args.published, args.out)
    print(json.dumps({"teacher": str(args.out / f"{args.name}.onnx"), "largest_difference": difference}))
    return 0


def _bench(args: argparse.Namespace) -> int:
    import torch

    from train.allocator import keep_freed_memory
    from train.bench.measure import compare
    from train.config import load_config
    from train.corpus.cache import Cache

    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    for row in compare(load_config(args.config), Cache(args.cache), args.audio, args.steps, args.precisions):
        print(json.dumps(row), flush=True)
    return 0


def _names(text: str) -> tuple[str, ...]:
    """Names with commas between them; ``none`` for no name."""
    return () if text == "none" else tuple(name.strip() for name in text.split(","))


def _evaluate(args: argparse.Namespace) -> int:
    from train.evaluate.command import run_evaluate

    return run_evaluate(args)


def _compare(args: argparse.Namespace) -> int:
    from train.evaluate.command import run_compare

    return run_compare(args)


def _curve(args: argparse.Namespace) -> int:
    from train.evaluate.command import run_curve

    return run_curve(args)


def _results(args: argparse.Namespace) -> int:
    from train.allocator import keep_freed_memory
    from train.config import load_config
    from train.results.table import make_results

    keep_freed_memory()
    make_results(load_config(args.config), args.cache, args.sets, args.out, args.docs, progress=not args.quiet)
    print(json.dumps({"results": str(args.docs / "RESULTS.md")}))
    return 0


def _ablate(args: argparse.Namespace) -> int:
    from train.allocator import keep_freed_memory
    from train.config import load_config
    from train.errors import ConfigError
    from train.results.ablations import ablate, read_changes

    keep_freed_memory()
    changes = read_changes(args.changes, load_config(args.config))
    chosen = [change for change in changes if not args.only or change.name in args.only]
    if len(chosen) < len(args.only or ()):
        raise ConfigError(f"{args.changes} has no such change: choose among {', '.join(c.name for c in changes)}")
    docs = None if args.only else args.docs
    for row in ablate(chosen, args.cache, args.teachers, args.sets, args.out, docs, progress=not args.quiet):
        print(json.dumps(row), flush=True)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    parser.add_argument("-v", "--verbose", action="store_true", help="also log what is only of use in debugging")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=help_, description=help_, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        sub.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
        return sub

    corpus = command("corpus", "build the freely licensed pretraining corpus from packages of Debian main")
    corpus.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets corpus/ and scratch files")
    corpus.add_argument("--only", nargs="+", metavar="PACKAGE", help="packages of the list (without: all of them)")
    corpus.add_argument("--synth-speech", type=int, default=0, metavar="N", help="clips spoken by espeak-ng as well")
    corpus.add_argument("--max-files", type=int, default=0, metavar="N", help="files of a package, to try; 0: all")
    corpus.add_argument("--strict-versions", action="store_true", help="fail if apt offers other versions than listed")
    corpus.add_argument("--keep-work", action="store_true", help="keep the packages and what was unpacked")
    corpus.set_defaults(run=_corpus)

    cache = command("cache", "decode folders of audio into a cache to train from; goes on where it was stopped")
    cache.add_argument("--audio", type=Path, nargs="+", required=True, metavar="FOLDER", help="searched at any depth")
    cache.add_argument("--out", type=Path, required=True, metavar="DIR", help="the cache")
    cache.add_argument("--config", type=Path, metavar="TOML", help="whose sample rate to use (without: 16000 Hz)")
    cache.set_defaults(run=_cache)

    speeds = command("speeds", "copies of recordings played slower and faster: voices that a corpus lacks; resumes")
    speeds.add_argument("--audio", type=Path, nargs="+", required=True, metavar="FOLDER", help="one domain each")
    speeds.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets a folder of copies for each")
    speeds.add_argument("--sample-rate", type=int, default=16_000, metavar="HZ", help="of the copies")
    speeds.set_defaults(run=_speeds)

    pretrain = command("pretrain", "train a network on a cache")
    pretrain.add_argument("--config", type=Path, required=True, metavar="TOML", help="all settings")
    pretrain.add_argument("--cache", type=Path, required=True, metavar="DIR", help="made by the cache command")
    pretrain.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    pretrain.add_argument(
        "--from", dest="start_from", type=Path, metavar="CHECKPOINT", help="weights to start from (without: random)"
    )
    pretrain.add_argument("--resume", action="store_true", help="go on with the run in --out, if there is one")
    pretrain.add_argument("--no-verify", action="store_true", help="do not compare the cache with its checksums first")
    pretrain.add_argument("--teachers", type=Path, metavar="DIR", help="their ONNX files, if distil.teachers names any")
    pretrain.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="what to train on")
    pretrain.set_defaults(run=_pretrain)

    adapt = command("adapt", "go on from a trained network with your own unlabelled audio")
    adapt.add_argument(
        "--from", dest="checkpoint", type=Path, required=True, metavar="CHECKPOINT", help="a .safetensors file"
    )
    adapt.add_argument("--audio", type=Path, nargs="+", required=True, metavar="FOLDER", help="searched at any depth")
    adapt.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    adapt.add_argument("--cache", type=Path, metavar="DIR", help="for the decoded audio (without: OUT/cache)")
    adapt.add_argument("--config", type=Path, metavar="TOML", help="what to change (without: as configs/adapt.toml)")
    adapt.add_argument("--resume", action="store_true", help="go on with the run in --out, if there is one")
    adapt.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="what to train on")
    adapt.set_defaults(run=_adapt)

    compact = command("compact", "keep a checkpoint's weights alone, in half precision, to go on from with adapt")
    compact.add_argument("checkpoint", type=Path, help="a .safetensors file of a run")
    compact.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write them")
    compact.set_defaults(run=_compact)

    teachers = command("teachers", "ask the config's teachers about a cache, once; goes on where it was stopped")
    teachers.add_argument("--config", type=Path, required=True, metavar="TOML", help="whose distil.teachers to ask")
    teachers.add_argument("--cache", type=Path, required=True, metavar="DIR", help="made by the cache command")
    teachers.add_argument("--teachers", type=Path, required=True, metavar="DIR", help="folder of their ONNX files")
    teachers.set_defaults(run=_teachers)

    teacher_file = command("teacher-file", "make a teacher's ONNX file of the weights that its authors publish")
    teacher_file.add_argument("name", choices=("mn04", "ge2e"), help="which one")
    teacher_file.add_argument("published", type=Path, help="a .safetensors file (docs/TRAINING.md says of what)")
    teacher_file.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of teachers")
    teacher_file.set_defaults(run=_teacher_file)

    bench = command("bench", "speed of a step on this CPU, against a clip-by-clip pipeline like the published one")
    bench.add_argument("--config", type=Path, required=True, metavar="TOML", help="whose model, batch and clip to use")
    bench.add_argument("--cache", type=Path, required=True, metavar="DIR", help="of the same audio")
    bench.add_argument("--audio", type=Path, required=True, metavar="FOLDER", help="files that the other one decodes")
    bench.add_argument("--steps", type=int, default=5, help="steps of each")
    bench.add_argument(
        "--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32"], help="of our step; theirs is float32"
    )
    bench.add_argument("--threads", type=int, default=0, help="of torch; 0: as many as the machine has cores")
    bench.set_defaults(run=_bench)

    evaluate = command("evaluate", "few-shot accuracy on labelled sets, and what may go wrong in a room")
    evaluate.add_argument(
        "subject",
        help="a checkpoint (.safetensors), an exported file (.onnx), or a control: log-mel-statistics, "
        "mfcc-statistics, random-resnet18",
    )
    evaluate.add_argument(
        "--sets",
        nargs="+",
        required=True,
        metavar="SET",
        help="FOLDER of class folders, FOLDER@group, or NAME=FOLDER of a published set (docs/EVALUATION.md)",
    )
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="of the report (without: build/evaluation/SUBJECT)")
    evaluate.add_argument(
        "--cache", type=Path, default=Path("build/evaluation/cache"), metavar="DIR", help="of tasks and embeddings"
    )
    evaluate.add_argument("--n-way", type=int, default=5, help="classes of a task")
    evaluate.add_argument("--k-shots", type=int, nargs="+", default=[1, 5], metavar="K", help="examples of a class")
    evaluate.add_argument("--n-queries", type=int, default=10, help="queries of a class, fewer where it has fewer")
    evaluate.add_argument("--tasks", type=int, default=10_000, metavar="N", help="random tasks")
    evaluate.add_argument("--seed", type=int, default=0, help="of the tasks")
    evaluate.add_argument(
        "--apart",
        choices=("class", "task", "mixed"),
        default="class",
        help="queries share no group with the support of their class, of the whole task, or may share",
    )
    evaluate.add_argument("--skip-small-classes", action="store_true", help="leave out classes that are too small")
    evaluate.add_argument(
        "--probes",
        nargs="+",
        default=["logistic", "logistic-c100", "prototype", "sgd"],
        metavar="PROBE",
        help="classifiers, the main one first; MODULE:FUNCTION is a plug-in, export.proof.device_probe:device_head the "
        "device's own",
    )
    evaluate.add_argument("--plug-in-tasks", type=int, default=200, metavar="N", help="of the tasks, for plug-ins")
    evaluate.add_argument("--robustness", action="store_true", help="also under noise, rooms, levels, other groups")
    evaluate.add_argument("--robustness-tasks", type=int, default=1000, metavar="N", help="of the tasks, for these")
    evaluate.add_argument("--invariance", action="store_true", help="also how far each augmentation moves each head")
    evaluate.add_argument(
        "--controls",
        type=_names,
        default=("log-mel-statistics", "mfcc-statistics"),
        metavar="NAME,...",
        help="to stand beside it on the same tasks, with commas between them, or none",
    )
    evaluate.set_defaults(run=_evaluate)

    compare = command("compare", "put reports of evaluate side by side: differences on the same tasks, ranks")
    compare.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="folders; the first is the reference")
    compare.add_argument("--head", help="to compare (without: all heads together)")
    compare.add_argument("--probe", default="logistic", help="by which classifier")
    compare.add_argument("--out", type=Path, metavar="DIR", help="gets comparison.json and comparison.md")
    compare.set_defaults(run=_compare)

    curve = command("curve", "draw a run's losses, and the few-shot accuracy of the weights that it kept along the way")
    curve.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a run with run.keep_every")
    curve.add_argument("--sets", nargs="+", required=True, metavar="SET", help="as for evaluate")
    curve.add_argument("--figure", type=Path, required=True, metavar="PNG", help="and a JSON file of the same name")
    curve.add_argument("--tasks", type=int, default=2000, metavar="N", help="random tasks")
    curve.add_argument(
        "--cache", type=Path, default=Path("build/evaluation/cache"), metavar="DIR", help="of tasks and embeddings"
    )
    curve.set_defaults(run=_curve)

    results = command("results", "train and evaluate the paper's variants in small, write docs/RESULTS.md; resumes")
    results.add_argument(
        "--config", type=Path, default=Path("configs/results.toml"), metavar="TOML", help="of all runs"
    )
    results.add_argument("--cache", type=Path, required=True, metavar="DIR", help="made by the cache command")
    results.add_argument("--sets", nargs="+", required=True, metavar="SET", help="as for evaluate")
    results.add_argument("--out", type=Path, default=Path("build/results"), metavar="DIR", help="of runs and reports")
    results.add_argument("--docs", type=Path, default=Path("docs"), metavar="DIR", help="gets RESULTS.md and figures")
    results.set_defaults(run=_results)

    ablate = command("ablate", "train the shipped recipe briefly with one thing changed at a time; resumes")
    ablate.add_argument(
        "--config", type=Path, default=Path("configs/third-stage.toml"), metavar="TOML", help="the recipe"
    )
    ablate.add_argument(
        "--changes", type=Path, default=Path("configs/ablations.toml"), metavar="TOML", help="what to change of it"
    )
    ablate.add_argument("--only", nargs="+", metavar="NAME", help="changes to train, without writing the table")
    ablate.add_argument("--cache", type=Path, required=True, metavar="DIR", help="made by the cache command")
    ablate.add_argument("--teachers", type=Path, required=True, metavar="DIR", help="their ONNX files")
    ablate.add_argument("--sets", nargs="+", required=True, metavar="SET", help="as for evaluate")
    ablate.add_argument("--out", type=Path, default=Path("build/ablations"), metavar="DIR", help="of the runs")
    ablate.add_argument(
        "--docs", type=Path, default=Path("docs"), metavar="DIR", help="whose RESULTS.md gets the table"
    )
    ablate.set_defaults(run=_ablate)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = build_parser().parse_args(argv)  # each subcommand sets ``run``
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        return int(args.run(args))
    except EarmarkError as err:  # the user's to mend: a sentence, no traceback
        print(f"error: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
