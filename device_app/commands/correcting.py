"""``earmark wrong``, ``missed``, ``undo`` and ``corrections``."""

import argparse

from device_app.commands.options import Commands, add_command, add_history, add_model, add_profile, moments


def add(commands: Commands) -> None:
    """Add the subcommands."""
    wrong = add_command(commands, "wrong", "say that something was reported falsely, and have it learned")
    wrong.add_argument("event", nargs="?", default="last", help="id of the event (default: %(default)s)")
    _add_common(wrong)
    add_history(wrong)
    wrong.set_defaults(run=_wrong)

    missed = add_command(commands, "missed", "say that something was a sound, and have it learned")
    missed.add_argument("sound", help="what it was")
    missed.add_argument(
        "--from",
        dest="origin",
        metavar="WHAT",
        required=True,
        help="a recording; or the id of an event that was reported as another sound, or 'last'",
    )
    missed.add_argument("--at", type=moments, metavar="SECONDS", default=[], help="the moment in a long recording")
    _add_common(missed)
    add_history(missed)
    missed.set_defaults(run=_missed)

    undo = add_command(commands, "undo", "take the last correction back")
    _add_common(undo)
    undo.set_defaults(run=_undo)

    corrections = add_command(commands, "corrections", "list what was corrected and what was undone")
    add_profile(corrections)
    corrections.add_argument("--json", action="store_true", help="one object a line instead of a table")
    corrections.set_defaults(run=_corrections)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the outcome as one object on stdout")
    add_profile(parser)
    add_model(parser)


def _wrong(args: argparse.Namespace) -> int:
    from device_app.corrections.command import wrong

    return wrong(args.event, args.profile, args.model, history_path=args.history, as_json=args.json)


def _missed(args: argparse.Namespace) -> int:
    from device_app.corrections.command import missed

    return missed(
        args.sound,
        args.origin,
        args.profile,
        args.model,
        at_s=args.at,
        history_path=args.history,
        as_json=args.json,
    )


def _undo(args: argparse.Namespace) -> int:
    from device_app.corrections.command import undo_last

    return undo_last(args.profile, args.model, as_json=args.json)


def _corrections(args: argparse.Namespace) -> int:
    from device_app.corrections.command import print_corrections

    return print_corrections(args.profile, as_json=args.json)
