"""The ``earmark`` command."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from device_app import __version__
from device_app.errors import EarmarkError

# Everything else is imported by the command that needs it: `earmark --help` stays instant.


def build_parser() -> argparse.ArgumentParser:
    """The command line; each subcommand sets ``run``."""
    parser = argparse.ArgumentParser(
        prog="earmark",
        description="Teach this computer a sound from a handful of recordings, then hear it live, offline.",
        epilog="Start with `earmark demo`, then `earmark enrol doorbell`, then `earmark listen`.",
    )
    parser.add_argument("--version", action="version", version=f"earmark {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    devices = _command(commands, "devices", "list the microphones")
    devices.add_argument("--json", action="store_true", help="one object a line instead of a table")
    devices.set_defaults(run=_devices)

    enrol = _command(commands, "enrol", "teach a sound, or add recordings to one")
    enrol.add_argument("name", help="what to call it; 'background' (or noise, silence, other) is never reported")
    enrol.add_argument(
        "--from",
        dest="origins",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="recordings, or folders of them, instead of the microphone",
    )
    enrol.add_argument("--takes", type=_positive_int, default=5, help="recordings to take (default: %(default)s)")
    enrol.add_argument(
        "--take-s",
        type=_positive_float,
        default=3.0,
        metavar="SECONDS",
        help="longest length of one (default: %(default)s s)",
    )
    _microphone(enrol)
    _profile_and_model(enrol)
    enrol.set_defaults(run=_enrol)

    sounds = _command(commands, "sounds", "list what has been taught")
    _profile_and_model(sounds)
    sounds.add_argument("--json", action="store_true", help="one object a line instead of a table")
    sounds.set_defaults(run=_sounds)

    refit = _command(commands, "refit", "fit the sounds again from their recordings, with the model at hand")
    _profile_and_model(refit)
    refit.set_defaults(run=_refit)

    listen = _command(commands, "listen", "report the taught sounds, one JSON object a line on stdout")
    listen.add_argument("--source", type=Path, metavar="FILE", help="a recording instead of the microphone")
    listen.add_argument(
        "--realtime", action="store_true", help="play --source at its own pace, not as fast as possible"
    )
    _microphone(listen)
    listen.add_argument("--wait", action="store_true", help="if the microphone is missing at the start, wait for it")
    _profile_and_model(listen)
    listen.set_defaults(run=_listen)

    demo = _command(commands, "demo", "enrol bundled sounds, hear them in a noisy stream, say how it went")
    demo.add_argument(
        "--seed", type=int, default=0, help="order, moments and levels in the stream (default: %(default)s)"
    )
    demo.add_argument("--json", action="store_true", help="one object at the end instead of events and a table")
    _model(demo)
    demo.set_defaults(run=_demo)

    doctor = _command(commands, "doctor", "prove that this machine computes what it should")
    doctor.add_argument("--json", action="store_true", help="one object a line for each check")
    _model(doctor)
    doctor.set_defaults(run=_doctor)
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, purpose: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
    command.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")
    return command


def _microphone(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", metavar="NAME", help="a microphone that `earmark devices` lists (default: the system's)"
    )
    parser.add_argument("--channel", type=_count, help="its channel to use, from 0 (default: the mean of all)")


def _profile_and_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FOLDER",
        default=os.environ.get("EARMARK_PROFILE"),
        help="where the taught sounds are kept (default: $EARMARK_PROFILE, or a folder in your user data)",
    )
    _model(parser)


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        default=os.environ.get("EARMARK_MODEL"),
        help="another model than the one that is shipped (default: $EARMARK_MODEL)",
    )


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def _positive_float(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 3600.0:
        raise argparse.ArgumentTypeError(f"{value} does not lie between 0 and 3600")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def _devices(args: argparse.Namespace) -> int:
    from device_app.device_list import print_devices

    return print_devices(as_json=args.json)


def _enrol(args: argparse.Namespace) -> int:
    from device_app.capture import MicrophoneSource
    from device_app.enrolment.command import enrol_files, enrol_microphone

    if args.origins:
        return enrol_files(args.name, args.origins, args.profile, args.model)
    return enrol_microphone(
        args.name,
        args.profile,
        args.model,
        source=MicrophoneSource(args.device, args.channel),
        n_takes=args.takes,
        take_s=args.take_s,
    )


def _sounds(args: argparse.Namespace) -> int:
    from device_app.enrolment.command import print_sounds

    return print_sounds(args.profile, as_json=args.json)


def _refit(args: argparse.Namespace) -> int:
    from device_app.enrolment.command import refit

    return refit(args.profile, args.model)


def _listen(args: argparse.Namespace) -> int:
    from device_app.capture import FileSource, MicrophoneSource, Source
    from device_app.listening.command import print_events

    source: Source
    if args.source:
        source = FileSource(args.source, realtime=args.realtime, channel=args.channel)
    else:
        source = MicrophoneSource(args.device, args.channel)
    return print_events(source, args.profile, args.model, wait=args.wait)


def _demo(args: argparse.Namespace) -> int:
    from device_app.demo.command import demo

    return demo(args.model, args.seed, as_json=args.json)


def _doctor(args: argparse.Namespace) -> int:
    from device_app.doctor import doctor

    return doctor(args.model, as_json=args.json)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # a service is stopped so: leave by the context managers
    try:
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except EarmarkError as err:  # the user's to mend: a sentence, no traceback
        print(f"error: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has gone: `earmark listen | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
