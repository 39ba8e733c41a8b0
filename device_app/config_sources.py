"""Where settings come from: flags, then EARMARK_* variables, then the user's config.toml, then the system's.

An option is named once: ``url`` of the section ``[webhook]`` is the variable ``EARMARK_WEBHOOK_URL`` and the flag
``--webhook-url``; those of ``[listen]`` go without the section, ``EARMARK_DEVICE`` and ``--device``.
"""

import difflib
import logging
import os
import shlex
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

import platformdirs

from device_app.config import Config
from device_app.errors import EarmarkError

_log = logging.getLogger(__name__)

SYSTEM_CONFIG = Path("/etc/earmark/config.toml")
_PREFIX = "EARMARK_"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def user_config_path() -> Path:
    """``$XDG_CONFIG_HOME/earmark/config.toml``."""
    return platformdirs.user_config_path("earmark") / "config.toml"


@cache
def options() -> dict[str, tuple[str, str]]:
    """Of each option's name as a flag's destination its section and key: ``webhook_url``: (``webhook``, ``url``)."""
    return {
        entry.name if section.name == "listen" else f"{section.name}_{entry.name}": (section.name, entry.name)
        for section in fields(Config)
        for entry in fields(_section_type(section.name))
    }


def load_config(flags: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Config:
    """Put the settings together.

    Args:
        flags: By destination; None where a flag was not given. What is no option is passed over.
        environment: Instead of this process's.

    Raises:
        EarmarkError: If a file cannot be read or is no TOML, a key is unknown, or a value cannot be.
    """
    chosen: dict[str, dict[str, Any]] = {section.name: {} for section in fields(Config)}
    for path in (SYSTEM_CONFIG, user_config_path()):
        for section, values in _read_file(path).items():
            chosen[section] |= values
    for name, (section, key) in options().items():
        text = (os.environ if environment is None else environment).get(_PREFIX + name.upper())
        if text:  # an empty one is as good as none
            chosen[section][key] = _convert(text, _type_of(section, key), _PREFIX + name.upper())
        if flags.get(name) is not None:
            chosen[section][key] = _convert(flags[name], _type_of(section, key), f"--{name.replace('_', '-')}")
    _warn_of_misspelt(os.environ if environment is None else environment)
    return Config(**{section: _section_type(section)(**values) for section, values in chosen.items()})


def _read_file(path: Path) -> dict[str, dict[str, Any]]:
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as err:
        raise EarmarkError(f"cannot read {path}: {err}; check its permissions") from err
    except tomllib.TOMLDecodeError as err:
        raise EarmarkError(f"{path} is not TOML ({err}): mend it, or remove it to go without") from err
    sections = [section.name for section in fields(Config)]
    read: dict[str, dict[str, Any]] = {}
    for section, values in raw.items():
        _require_known(section, sections, f"{path} has a section")
        if not isinstance(values, dict):
            raise EarmarkError(f"{path}: {section} must be a section, [{section}]")
        keys = [entry.name for entry in fields(_section_type(section))]
        for key in values:
            _require_known(key, keys, f"{path} has a key in [{section}]")
        read[section] = {
            key: _convert(value, _type_of(section, key), f"{section}.{key} in {path}") for key, value in values.items()
        }
    return read


def _require_known(name: str, known: Sequence[str], where: str) -> None:
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise EarmarkError(f"{where} that does not exist, {name!r}: did you mean {nearest[0]!r}?")


def _warn_of_misspelt(environment: Mapping[str, str]) -> None:
    known = [_PREFIX + name.upper() for name in options()]
    for name in environment:
        if name.startswith(_PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            if nearest:
                _log.warning("the variable %s means nothing: did you mean %s?", name, nearest[0])


def _section_type(section: str) -> Any:
    return typing.get_type_hints(Config)[section]


def _type_of(section: str, key: str) -> Any:
    """The type of an option, without the None that stands for its absence."""
    annotation = typing.get_type_hints(_section_type(section))[key]
    if isinstance(annotation, types.UnionType):
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    return typing.get_origin(annotation) or annotation


def _convert(value: Any, kind: Any, where: str) -> Any:
    """A value of TOML, of a variable or of a flag, as the type of its option."""
    readers: dict[Any, tuple[str, Callable[[Any], Any]]] = {
        str: ("a text", _text),
        Literal: ("a text", _text),  # which one, the section checks
        Path: ("a path", lambda given: Path(given).expanduser()),
        int: ("a whole number", _whole_number),
        float: ("a number", _number),
        bool: ("true or false", _truth),
        tuple: ("a list of texts", _texts),
        Mapping: ("a command for each sound", _commands),
    }
    what, read = readers[kind]
    try:
        return read(value)
    except (ValueError, TypeError) as err:
        raise EarmarkError(f"{where} must be {what}{f': {err}' if kind is Mapping else ''}") from err


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError(given)
    return given


def _number(given: Any) -> float:
    if isinstance(given, bool):
        raise TypeError(given)
    return float(given)


def _whole_number(given: Any) -> int:
    if isinstance(given, bool | float):
        raise TypeError(given)
    return int(given)


def _truth(given: Any) -> bool:
    if isinstance(given, bool):
        return given
    if not isinstance(given, str) or given.lower() not in _TRUE + _FALSE:
        raise ValueError(given)
    return given.lower() in _TRUE


def _texts(given: Any) -> tuple[str, ...]:
    """A list, or a text with commas."""
    parts = given.split(",") if isinstance(given, str) else given
    return tuple(_text(part).strip() for part in parts)


def _commands(given: Any) -> dict[str, tuple[str, ...]]:
    """A TOML table, or ``SOUND=COMMAND`` in lines or a list; commands are split like a shell would, and no more."""
    if isinstance(given, dict):
        pairs = list(given.items())
    else:
        entries = [line for line in given.splitlines() if line.strip()] if isinstance(given, str) else given
        pairs = [entry.partition("=")[::2] for entry in entries]
    commands = {}
    for sound, command in pairs:
        if not sound.strip() or not command:
            raise ValueError(f"write SOUND=COMMAND, for example 'doorbell=notify-send Doorbell', not {sound!r}")
        argv = shlex.split(command) if isinstance(command, str) else [_text(part) for part in command]
        commands[sound.strip()] = tuple(argv)
    return commands
