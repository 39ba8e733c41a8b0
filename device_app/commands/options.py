"""Options that several subcommands share, and the types of their values."""

import argparse
import math
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What ``ArgumentParser.add_subparsers`` returns."""


def add_command(commands: Commands, name: str, purpose: str) -> argparse.ArgumentParser:
    """Add a subcommand; its help begins with ``purpose``."""
    command = commands.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
    command.add_argument("-v", "--verbose", action="store_true", default=None, help="say more on stderr")
    return command


def add_microphone(parser: argparse.ArgumentParser) -> None:
    """``--device`` and ``--channel``."""
    parser.add_argument(
        "--device", metavar="NAME", help="a microphone that `earmark devices` lists (default: the system's)"
    )
    parser.add_argument("--channel", type=count, help="its channel to use, from 0 (default: the mean of all)")


def add_profile(parser: argparse.ArgumentParser) -> None:
    """``--profile``."""
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FOLDER",
        help="where the taught sounds are kept (default: $EARMARK_PROFILE, or a folder in your user data)",
    )


def add_history(parser: argparse.ArgumentParser) -> None:
    """``--history``."""
    parser.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help="where past events are kept (default: $EARMARK_HISTORY, or a file in your user data; "
        "those of a recording are kept only where this is set)",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--model``."""
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="another model than the one that is shipped (default: $EARMARK_MODEL)",
    )


def positive_int(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def positive_float(text: str) -> float:
    """Seconds, above 0 and less than an hour."""
    value = float(text)
    if not 0.0 < value < 3600.0:
        raise argparse.ArgumentTypeError(f"{value} does not lie between 0 and 3600")
    return value


def count(text: str) -> int:
    """A whole number, 0 or above."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def moments(text: str) -> list[float]:
    """Seconds, with commas between them."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(math.isfinite(value) and value >= 0.0 for value in values):
        raise argparse.ArgumentTypeError(f"{text} is no list of seconds like 12.3,45.1")
    return values
