"""``python -m export``: results to stdout, everything else to stderr."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from device_app.errors import EarmarkError as DeviceError
from export.errors import EarmarkError as ExportError
from train.errors import EarmarkError as TrainError

# Everything else is imported by the command that needs it: `python -m export --help` stays instant.


def _export_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Make the one file that the device needs from a checkpoint.",
        epilog="Other commands, each with --help: " + ", ".join(f"python -m export {name}" for name in COMMANDS),
    )
    parser.add_argument("checkpoint", type=Path, help="a .safetensors file of a run")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="ONNX", help="the file to write")
    _corpus(parser)
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="(default: %(default)s)")
    parser.add_argument(
        "--heads", type=lambda text: text.split(","), metavar="NAME,...", help="outputs of the file (default: all)"
    )
    parser.set_defaults(run=_export)
    return parser


def _export(args: argparse.Namespace) -> int:
    from export.model_export import export_model

    embedder = export_model(args.checkpoint, args.out, corpus=args.corpus, precision=args.precision, heads=args.heads)
    result = {
        "file": str(args.out),
        "bytes": args.out.stat().st_size,
        "model_id": embedder.metadata.model_id,
        "precision": args.precision,
        "heads": list(embedder.heads),
        "golden_error": embedder.golden_error(),
    }
    print(json.dumps(result))
    return 0


def _verify_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export verify",
        description="Compare a model file with its checkpoint: torch, fp32 and the file. "
        "Writes MODEL.parity.json and MODEL.parity.md beside the file and prints the verdict.",
    )
    parser.add_argument("model", type=Path, help="a model file")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="PT", help="that it was made from")
    _corpus(parser)
    parser.add_argument("--fewshot", type=Path, metavar="DIR", help="labelled sets, for accuracy and decisions")
    parser.add_argument("--episodes", type=int, default=1000, help="tasks for each accuracy (default: %(default)s)")
    parser.set_defaults(run=_verify)
    return parser


def _verify(args: argparse.Namespace) -> int:
    from export.proof.parity import verify

    report = verify(args.model, args.checkpoint, corpus=args.corpus, fewshot=args.fewshot, n_episodes=args.episodes)
    print(json.dumps(report["verdict"]))
    return 0


def _card_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export card",
        description="Write the model card from a model file and the parity report beside it (python -m export verify).",
    )
    parser.add_argument("model", type=Path, help="a model file")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("MODEL_CARD.md"), metavar="MD", help="(default: %(default)s)"
    )
    parser.set_defaults(run=_card)
    return parser


def _card(args: argparse.Namespace) -> int:
    from export.model_card import write_card

    write_card(args.model, args.out)
    print(args.out)
    return 0


def _bench_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export bench",
        description="Time a model file beside fp32 and, if one is named, another network: one thread, in turn.",
    )
    parser.add_argument("model", type=Path, help="a model file")
    parser.add_argument("--against", type=Path, metavar="ONNX", help="16 kHz waveforms (batch, samples) in")
    parser.add_argument("--json", action="store_true", help="one object instead of tables")
    parser.set_defaults(run=_bench)
    return parser


def _bench(args: argparse.Namespace) -> int:
    from export.bench.bench_model import bench_markdown, bench_model

    result = bench_model(args.model, args.against)
    print(json.dumps(result) if args.json else bench_markdown(result))
    return 0


def _aarch64_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export aarch64",
        description="Run a model file on an emulated Cortex-A72 and compare it with this machine. "
        "Needs debootstrap, qemu-user-static and, the first time, root and a network.",
    )
    parser.add_argument("model", type=Path, help="a model file")
    parser.add_argument(
        "--userland", type=Path, default=Path("build/aarch64"), metavar="DIR", help="(default: %(default)s)"
    )
    parser.set_defaults(run=_aarch64)
    return parser


def _aarch64(args: argparse.Namespace) -> int:
    from export.bench.aarch64 import compare

    print(json.dumps(compare(args.model, args.userland)))
    return 0


def _whitening_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export whitening",
        description="Few-shot accuracy of a checkpoint's heads, whitened more and less, on the sets to choose by.",
    )
    parser.add_argument("checkpoint", type=Path, help="a .safetensors file of a run")
    _corpus(parser)
    parser.add_argument("--fewshot", type=Path, required=True, metavar="DIR", help="labelled sets")
    parser.add_argument("--episodes", type=int, default=1000, help="tasks for each accuracy (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one object a line instead of a table")
    parser.set_defaults(run=_whitening)
    return parser


def _whitening(args: argparse.Namespace) -> int:
    from export.proof.whitening_table import whitening_markdown, whitening_table

    rows = whitening_table(args.checkpoint, args.corpus, args.fewshot, args.episodes)
    print("\n".join(json.dumps(row) for row in rows) if args.json else whitening_markdown(rows))
    return 0


def _corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus", type=Path, required=True, metavar="DIR", help="cache of the audio that was trained on"
    )


COMMANDS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "verify": _verify_parser,
    "card": _card_parser,
    "bench": _bench_parser,
    "aarch64": _aarch64_parser,
    "whitening": _whitening_parser,
}
"""Commands besides the export itself, which has no name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = COMMANDS[arguments.pop(0)]() if arguments and arguments[0] in COMMANDS else _export_parser()
    parser.add_argument("-v", "--verbose", action="store_true", help="also log what is only of use in debugging")
    args = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        return int(args.run(args))
    except (ExportError, DeviceError, TrainError) as err:  # the user's to mend: a sentence, no traceback
        print(f"error: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
