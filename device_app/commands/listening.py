"""``earmark devices`` and ``listen``."""

import argparse
from pathlib import Path

from device_app.commands.options import Commands, add_command, add_history, add_model, add_profile
from device_app.commands.sources import add_source


def add(commands: Commands) -> None:
    """Add the subcommands."""
    devices = add_command(commands, "devices", "list the microphones")
    devices.add_argument("--json", action="store_true", help="one object a line instead of a table")
    devices.set_defaults(run=_devices)

    listen = add_command(commands, "listen", "report the taught sounds, one JSON object a line on stdout")
    listen.epilog = (
        "Every option can also be set in config.toml or by an EARMARK_ variable, and more than these: docs/SERVICE.md. "
        "docs/EVENTS.md describes the lines."
    )
    add_source(listen)
    listen.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        help="if the microphone or stream is missing at the start, wait for it",
    )
    add_profile(listen)
    add_model(listen)
    add_history(listen)
    listen.add_argument(
        "--learn-room",
        action=argparse.BooleanOptionalAction,
        help="keep embeddings, never audio, of what is none of the sounds: the next fit tells the sounds from them",
    )
    outputs = listen.add_argument_group("what to do with what is heard")
    outputs.add_argument(
        "--live", action=argparse.BooleanOptionalAction, help="show it in the terminal instead of printing JSON"
    )
    outputs.add_argument(
        "--exec",
        dest="exec_commands",
        action="append",
        metavar="SOUND=COMMAND",
        help="run this when the sound starts (* for every sound): program and arguments, no shell; {sound}, {score} "
        "and other names of the event's line are filled in; may be repeated",
    )
    outputs.add_argument("--webhook-url", metavar="URL", help="post each line to this address")
    outputs.add_argument("--clips-folder", type=Path, metavar="FOLDER", help="save a recording of each event here")
    listen.set_defaults(run=_listen)


def _devices(args: argparse.Namespace) -> int:
    from device_app.device_list import print_devices

    return print_devices(as_json=args.json)


def _listen(args: argparse.Namespace) -> int:
    from device_app.listening.session import Session

    return Session(args.flags).run()
