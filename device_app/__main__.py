"""The ``earmark`` command."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from device_app import __version__
from device_app.commands import checking, correcting, enrolment, listening, packs, past, reporting, service, tuning
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

    for group in (listening, past, enrolment, reporting, correcting, tuning, packs, checking, service):
        group.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # a service is stopped so: leave by the context managers
    try:
        from device_app.commands.settings import fill_in  # reads files: --help stays instant

        fill_in(args)
        if args.verbose:
            logging.getLogger().setLevel(logging.DEBUG)
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
