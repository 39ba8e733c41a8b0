"""Options that were not given on the command line, from the environment and the config files."""

import argparse

from device_app.config_sources import load_config, options

_SHARED = ("device", "channel", "profile", "model", "history", "verbose")
"""Options that mean the same in every command that has them. All others are for ``listen``, which reads them itself."""


def fill_in(args: argparse.Namespace) -> None:
    """Give each shared option that the command has, and that was not given, its value from elsewhere.

    What was given is kept in ``args.flags``, so that the rest can be read again while the command runs.

    Raises:
        EarmarkError: If a config file or variable cannot be understood.
    """
    args.flags = {name: value for name, value in vars(args).items() if name in options() and value is not None}
    listen = load_config(args.flags).listen
    for name in _SHARED:
        if name in vars(args) and getattr(args, name) is None:
            setattr(args, name, getattr(listen, name))
