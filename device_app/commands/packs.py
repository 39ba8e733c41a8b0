"""``earmark pack export`` and ``import``."""

import argparse
from pathlib import Path

from device_app.commands.options import Commands, add_command, add_model, add_profile


def add(commands: Commands) -> None:
    """Add the subcommands."""
    pack = add_command(commands, "pack", "hand taught sounds on as one file, or take such a file in")
    actions = pack.add_subparsers(required=True, metavar="ACTION")

    export = add_command(actions, "export", "write taught sounds into a zip file")
    export.add_argument("file", type=Path, help="the pack to write")
    export.add_argument("sounds", nargs="*", help="what to export (default: all taught sounds, background left out)")
    export.add_argument(
        "--with-audio", action="store_true", help="the recordings as well: the pack can then be used with any model"
    )
    export.add_argument(
        "--licence", default="not stated", metavar="TEXT", help="terms it is handed on under (default: %(default)s)"
    )
    add_profile(export)
    add_model(export)
    export.set_defaults(run=_export)

    take_in = add_command(actions, "import", "merge the sounds of a pack into what is taught")
    take_in.add_argument("file", type=Path, help="the pack to read")
    take_in.add_argument(
        "--rename",
        type=_renaming,
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="call a sound of the pack something else here; may be given several times",
    )
    add_profile(take_in)
    add_model(take_in)
    take_in.set_defaults(run=_import)


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"{text} is not OLD=NEW")
    return old, new


def _export(args: argparse.Namespace) -> int:
    from device_app.packs.command import export

    return export(args.file, args.sounds, args.profile, args.model, with_audio=args.with_audio, licence=args.licence)


def _import(args: argparse.Namespace) -> int:
    from device_app.packs.command import take_in

    return take_in(args.file, dict(args.rename), args.profile, args.model)
