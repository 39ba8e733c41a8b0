"""`earmark listen` in a process of its own, for tests."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np


class Listening:
    """The command in a process of its own, with settings that are not this machine's."""

    def __init__(self, home: Path, *arguments: str | Path, **environment: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.errors = ""
        self.config = home / "config" / "earmark" / "config.toml"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EARMARK_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "device_app", "listen", *map(str, arguments)],
            stdin=subprocess.PIPE if "-" in arguments else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**kept, "XDG_CONFIG_HOME": str(home / "config"), "XDG_DATA_HOME": str(home / "data"), **environment},
        )
        self._readers = [threading.Thread(target=read) for read in (self._read_lines, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
        self.process.stdout.close()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.errors += text.decode()
        self.process.stderr.close()

    def types(self) -> list[str]:
        return [line["type"] for line in self.lines]

    def feed(self, samples: np.ndarray) -> None:
        """Give it (n_samples,) int16 on standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(samples.astype("<i2").tobytes())
        self.process.stdin.flush()

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, or close standard input; returns the exit status."""
        if number is not None:
            self.process.send_signal(number)
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        status = self.process.wait(60)
        for reader in self._readers:
            reader.join()
        return status
