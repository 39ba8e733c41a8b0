"""``earmark enrol``, ``sounds``, ``remove``, ``rename``, ``refit`` and ``room``."""

import argparse
import sys
from pathlib import Path

from device_app.commands.options import (
    Commands,
    add_command,
    add_microphone,
    add_model,
    add_profile,
    moments,
    positive_float,
    positive_int,
)
from device_app.commands.reporting import add_sound_settings, sound_settings
from device_app.errors import EarmarkError


def add(commands: Commands) -> None:
    """Add the subcommands."""
    enrol = add_command(commands, "enrol", "teach a sound, or add recordings to one")
    enrol.add_argument(
        "name",
        nargs="?",
        help="what to call it; 'background' (or noise, silence, other) is never reported; none if --from is a folder "
        "with one folder for each sound",
    )
    enrol.add_argument(
        "--not",
        dest="negative",
        action="store_true",
        help="the recordings are not the sound, but what it must not be confused with",
    )
    enrol.add_argument(
        "--from",
        dest="origins",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="recordings, or folders of them, instead of the microphone",
    )
    enrol.add_argument(
        "--at",
        type=moments,
        metavar="SECONDS,...",
        default=[],
        help="moments of the sound in a long recording, for example 12.3,45.1",
    )
    enrol.add_argument(
        "--propose",
        action="store_true",
        help="find the loudest distinct sounds of a long recording and ask which it is; where there is no terminal, "
        "print them as JSON lines",
    )
    enrol.add_argument("--takes", type=positive_int, default=5, help="recordings to take (default: %(default)s)")
    enrol.add_argument(
        "--take-s",
        type=positive_float,
        default=3.0,
        metavar="SECONDS",
        help="longest length of one (default: %(default)s s)",
    )
    enrol.add_argument(
        "--afresh", action="store_true", help="delete takes that wait from an enrolment that did not finish"
    )
    enrol.add_argument("--json", action="store_true", help="the report at the end as one object a line")
    add_sound_settings(enrol)
    add_microphone(enrol)
    add_profile(enrol)
    add_model(enrol)
    enrol.set_defaults(run=_enrol)

    remove = add_command(commands, "remove", "forget sounds and their recordings; the others' are left as they are")
    remove.add_argument("names", metavar="name", nargs="+", help="a sound, or background")
    add_profile(remove)
    add_model(remove)
    remove.set_defaults(run=_remove)

    rename = add_command(commands, "rename", "call a sound something else")
    rename.add_argument("old", help="its name now")
    rename.add_argument("new", help="its new name")
    add_profile(rename)
    add_model(rename)
    rename.set_defaults(run=_rename)

    sounds = add_command(commands, "sounds", "list what has been taught")
    add_profile(sounds)
    sounds.add_argument("--json", action="store_true", help="one object a line instead of a table")
    sounds.set_defaults(run=_sounds)

    refit = add_command(commands, "refit", "fit the sounds again from their recordings, with the model at hand")
    add_profile(refit)
    add_model(refit)
    refit.set_defaults(run=_refit)

    room = add_command(commands, "room", "learn what the room sounds like, so that it is not taken for a taught sound")
    room.add_argument("--minutes", type=positive_float, default=10.0, help="how long to listen (default: %(default)s)")
    room.add_argument(
        "--source",
        dest="recording",
        type=Path,
        metavar="FILE",
        help="a recording of the room instead of the microphone",
    )
    action = room.add_mutually_exclusive_group()
    action.add_argument("--show", action="store_true", help="say what is known of it instead")
    action.add_argument("--clear", action="store_true", help="forget it instead")
    room.add_argument("--json", action="store_true", help="what --show says, as one object")
    add_microphone(room)
    add_profile(room)
    add_model(room)
    room.set_defaults(run=_room)


def _enrol(args: argparse.Namespace) -> int:
    from device_app.capture import MicrophoneSource
    from device_app.enrolment import command

    if (args.at or args.propose) and not args.origins:
        raise EarmarkError("--at and --propose take a sound out of a recording: name it with --from")
    into = command.Enrolment(
        profile_path=args.profile, model_path=args.model, by_hand=sound_settings(args), as_json=args.json
    )
    if args.name is None:
        if not args.origins or args.at or args.propose or args.negative:
            raise EarmarkError(
                "what is the sound called? earmark enrol NAME, or --from a folder with one for each sound"
            )
        return command.enrol_folders(args.origins, into)
    name = f"-{args.name}" if args.negative else args.name
    if args.propose:
        interactive = sys.stdin.isatty() and sys.stdout.isatty()
        return command.enrol_proposed(name, args.origins, into, interactive=interactive)
    if args.origins:
        return command.enrol_files(name, args.origins, into, at_s=args.at)
    return command.enrol_microphone(
        name,
        into,
        source=MicrophoneSource(args.device, args.channel),
        n_takes=args.takes,
        take_s=args.take_s,
        afresh=args.afresh,
    )


def _remove(args: argparse.Namespace) -> int:
    from device_app.enrolment.command import remove

    return remove(args.names, args.profile, args.model)


def _rename(args: argparse.Namespace) -> int:
    from device_app.enrolment.command import rename

    return rename(args.old, args.new, args.profile, args.model)


def _sounds(args: argparse.Namespace) -> int:
    from device_app.enrolment.command import print_sounds

    return print_sounds(args.profile, as_json=args.json)


def _refit(args: argparse.Namespace) -> int:
    from device_app.enrolment.command import refit

    return refit(args.profile, args.model)


def _room(args: argparse.Namespace) -> int:
    from device_app.capture import FileSource, MicrophoneSource, Source
    from device_app.room.command import forget_room, learn_room, show_room

    if args.show:
        return show_room(args.profile, as_json=args.json)
    if args.clear:
        return forget_room(args.profile, args.model)
    source: Source = FileSource(args.recording) if args.recording else MicrophoneSource(args.device, args.channel)
    return learn_room(source, args.minutes, args.profile, args.model)
