"""``earmark service``."""

import argparse
from typing import TYPE_CHECKING

from device_app.commands.options import Commands, add_command

if TYPE_CHECKING:
    from device_app.service.unit import Scope


def add(commands: Commands) -> None:
    """Add the subcommand and its own."""
    service = commands.add_parser("service", help="listen as a service of systemd, from boot on")
    actions = service.add_subparsers(required=True, metavar="ACTION")
    install = add_command(actions, "install", "write the unit, start it now and at every boot")
    install.set_defaults(run=_install)
    show = add_command(actions, "print", "print the unit")
    show.set_defaults(run=_print)
    status = add_command(actions, "status", "say whether it runs, and what it does")
    status.add_argument("--json", action="store_true", help="one object instead of lines")
    status.set_defaults(run=_status)
    for action in (install, show, status):
        which = action.add_mutually_exclusive_group()
        which.add_argument(
            "--system",
            action="store_true",
            default=None,
            help="the machine's service (default for root)",
        )
        which.add_argument(
            "--user",
            action="store_false",
            dest="system",
            default=None,
            help="a service of your own session (default for anyone else)",
        )
        action.add_argument(
            "--as",
            dest="account",
            metavar="ACCOUNT",
            help="account of the machine's service, in whose home the taught sounds are (default: who called sudo)",
        )


def _scope(args: argparse.Namespace) -> "Scope":
    from device_app.service.command import choose_scope

    return choose_scope(system=args.system, user=args.account)


def _install(args: argparse.Namespace) -> int:
    from device_app.service.command import install

    return install(_scope(args))


def _print(args: argparse.Namespace) -> int:
    from device_app.service.command import print_unit

    return print_unit(_scope(args))


def _status(args: argparse.Namespace) -> int:
    from device_app.service.command import status

    return status(_scope(args), as_json=args.json)
