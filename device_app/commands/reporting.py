"""``earmark report``, and the options that say what a sound is and how often it may be wrong."""

import argparse
from typing import Any

from device_app.commands.options import Commands, add_command, add_model, add_profile, positive_float


def add(commands: Commands) -> None:
    """Add the subcommand."""
    report = add_command(commands, "report", "say how reliable the taught sounds are, and what would help most")
    report.add_argument("--json", action="store_true", help="one object a line instead of a table")
    add_profile(report)
    add_model(report)
    report.set_defaults(run=_report)


def add_sound_settings(parser: argparse.ArgumentParser) -> None:
    """``--same``, ``--pitch`` and ``--false-alarms-per-day``: what is otherwise learned, or usual."""
    parser.add_argument(
        "--same",
        choices=("word", "speaker"),
        help="what makes two recordings the same sound (default: learned from the recordings)",
    )
    parser.add_argument(
        "--pitch",
        choices=("matters", "varies"),
        help="whether the sound at another pitch or tempo is another sound (default: learned from the recordings)",
    )
    parser.add_argument(
        "--false-alarms-per-day",
        type=positive_float,
        metavar="N",
        help="how many are tolerable in a day of everyday audio; fewer also means that more is missed (default: 72)",
    )


def sound_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What was set by hand, by the names of :class:`device_app.enrolment.sound_settings.SoundSettings`."""
    names = ("same", "pitch", "false_alarms_per_day")
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _report(args: argparse.Namespace) -> int:
    from device_app.enrolment.report_command import report

    return report(args.profile, args.model, json=args.json)
