"""``earmark history``."""

import argparse

from device_app.commands.options import Commands, add_command, add_history, positive_int


def add(commands: Commands) -> None:
    """Add the subcommand."""
    history = add_command(commands, "history", "list the events of the past")
    history.add_argument("--since", metavar="TIME", help="only since then: 90m, 2h, 7d, 2026-11-23, 2026-11-23T08:30")
    history.add_argument("--sound", metavar="SOUND", help="only this sound")
    history.add_argument("--last", type=positive_int, metavar="N", help="only the newest N")
    history.add_argument("--json", action="store_true", help="their JSON lines instead of a table")
    add_history(history)
    history.set_defaults(run=_history)


def _history(args: argparse.Namespace) -> int:
    from device_app.history.history_screen import print_history

    return print_history(args.history, since=args.since, sound=args.sound, last=args.last, as_json=args.json)
