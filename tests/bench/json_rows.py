"""How a benchmark on the labelled sets runs as a command: of one model file, one JSON object a line."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from device_app.model.embedder import Embedder, load_embedder

Rows = Callable[[Embedder, int], Iterable[dict[str, object]]]
"""From the model, and how many tasks there shall be, to what is printed."""


def run(about: str | None, count: str, rows: Rows) -> int:
    """Read the command line, print the rows as they come, and return the exit status.

    Args:
        about: The benchmark's docstring, for its help.
        count: Flag that says how many tasks of each set there shall be.
        rows: The benchmark.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(count, dest="count", type=int, default=60, help="of each set (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="default: the shipped one")
    args = parser.parse_args()
    try:
        for row in rows(load_embedder(args.model), args.count):
            print(json.dumps(row), flush=True)
    except FileNotFoundError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    return 0
