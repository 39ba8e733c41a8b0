"""``python -m export CHECKPOINT -o model.onnx``: results to stdout, everything else to stderr."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from device_app.errors import EarmarkError as DeviceError
from export.errors import EarmarkError as ExportError
from train.errors import EarmarkError as TrainError


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m export", description="Make the one file that the device needs from a checkpoint."
    )
    parser.add_argument("checkpoint", type=Path, help="a .pt file of a run")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="ONNX", help="the file to write")
    parser.add_argument(
        "--corpus", type=Path, required=True, metavar="DIR", help="cache of the audio that was trained on"
    )
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="(default: %(default)s)")
    parser.add_argument(
        "--heads", type=lambda text: text.split(","), metavar="NAME,...", help="outputs of the file (default: all)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="also log what is only of use in debugging")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = build_parser().parse_args(argv)
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
