"""``earmark tune``."""

import argparse
from pathlib import Path

from device_app.commands.options import Commands, add_command, add_model, add_profile, positive_float


def add(commands: Commands) -> None:
    """Add the subcommand."""
    tune = add_command(commands, "tune", "choose how sensitive each sound is, on a recording of a day")
    tune.add_argument("recording", type=Path, help="a recording, the longer the better, or a folder of them")
    tune.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="what it holds: Audacity's labels, a Raven selection table, or CSV with start, end and label "
        "(default: nothing, and all that fires counts as false)",
    )
    tune.add_argument(
        "--budget",
        type=positive_float,
        metavar="N",
        help="false alarms a day that each sound may have (default: the sound's own setting, or 1)",
    )
    tune.add_argument("--chart", type=Path, metavar="FILE", help="draw the DET curves into this SVG file")
    tune.add_argument("--write", action="store_true", help="put the chosen sensitivities into the profile")
    tune.add_argument("--json", action="store_true", help="one object for each sound instead of tables")
    add_profile(tune)
    add_model(tune)
    tune.set_defaults(run=_tune)


def _tune(args: argparse.Namespace) -> int:
    from device_app.tuning.command import tune

    return tune(
        args.recording,
        args.truth,
        args.profile,
        args.model,
        budget=args.budget,
        chart=args.chart,
        write=args.write,
        as_json=args.json,
    )
