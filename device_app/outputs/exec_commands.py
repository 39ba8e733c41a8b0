"""Commands of a person's own, run when a sound is heard: arguments as they are, no shell, a time limit."""

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from device_app.config import EVERY_SOUND, ExecConfig

_log = logging.getLogger(__name__)

_MOST_AT_ONCE = 4
_MOST_WAITING = 32
_CLOSE_S = 2.0
"""How long the end of the program waits for commands that run."""


class ExecCommands:
    """Runs what is configured for each sound, a few at a time, beside the listening."""

    def __init__(self, config: ExecConfig) -> None:
        self._config = config
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="exec")
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE + _MOST_WAITING)
        self._closing = threading.Event()

    def put(self, line: Mapping[str, Any]) -> None:
        """Run the commands that this line calls for; returns at once."""
        if line["type"] not in self._config.on:
            return
        for sound in (line["sound"], EVERY_SOUND):
            command = self._config.commands.get(sound)
            if command is None:
                continue
            if self._places.acquire(blocking=False):
                self._pool.submit(self._run, command, dict(line))
            else:
                _log.warning("exec: %d commands are running or waiting: none for this %s", _MOST_WAITING, line["sound"])

    def retire(self) -> None:
        """Begin nothing new, and let what was begun come to its end."""
        self._pool.shutdown(wait=False)

    def close(self) -> None:
        """Give what runs a moment to end, then end it; what waits is not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        waiting = threading.Timer(_CLOSE_S, self._closing.set)
        waiting.start()
        self._pool.shutdown(wait=True)
        waiting.cancel()

    def _run(self, command: tuple[str, ...], line: dict[str, Any]) -> None:
        try:
            complaint = self._run_to_end(fill_in(command, line), line)
        except (OSError, ValueError) as err:
            complaint = f"cannot be run ({err})"
        finally:
            self._places.release()
        if complaint:
            _log.warning("exec: %s for %s %s", command[0], line["sound"], complaint)

    def _run_to_end(self, argv: list[str], line: dict[str, Any]) -> str:
        """Returns what went wrong, or an empty text."""
        # A file rather than a pipe: what the command leaves running in the background would keep a pipe open.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as event:
            event.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            event.seek(0)
            process = subprocess.Popen(
                argv, stdin=event, stdout=output, stderr=output, env=_environment(line), start_new_session=True
            )
            ended = self._wait(process)
            if not ended:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return "was ended with the program" if self._closing.is_set() else self._too_long()
            if process.returncode == 0:
                return ""
            output.seek(max(0, output.seek(0, os.SEEK_END) - 300))
            words = " ".join(output.read().decode(errors="replace").split())
            return f"ended with status {process.returncode}{f': {words}' if words else ''}"

    def _too_long(self) -> str:
        return f"was ended: it ran for longer than {self._config.timeout_s:g} s"

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        step_s = 0.2
        for _ in range(max(1, round(self._config.timeout_s / step_s))):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(step_s)
                return True
            if self._closing.is_set():
                return False
        return False


def fill_in(command: tuple[str, ...], line: Mapping[str, Any]) -> list[str]:
    """Put an event's values for ``{sound}``, ``{score}`` and the like; each argument stays one argument."""

    def value(match: re.Match[str]) -> str:
        return _as_text(line[match[1]]) if match[1] in line else match[0]

    return [re.sub(r"\{(\w+)\}", value, argument) for argument in command]


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)


def _environment(line: Mapping[str, Any]) -> dict[str, str]:
    """Ours without our settings, which may hold secrets, and with the event's values."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("EARMARK_")}
    return own | {f"EARMARK_EVENT_{name.upper()}": _as_text(value) for name, value in line.items()}
