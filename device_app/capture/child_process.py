"""The parent's handle on one capture process: start it, read its frames without waiting, end it for certain."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from device_app.capture.protocol import Frame, FrameReader

_log = logging.getLogger(__name__)

_READ_BYTES = 1 << 16
"""As much as a pipe holds."""
_LONGEST_LINE = 10_000


class ChildProcess:
    """A running ``device_app.capture.child``.

    Args:
        order: What it shall do, as :mod:`device_app.capture.child` expects it.
        fd: A descriptor of this process that it gets a copy of, as ``fd`` of the order.
    """

    def __init__(self, order: dict[str, Any], fd: int | None = None) -> None:
        # It finds modules where this process finds them, but not in whatever folder the user happens to be in.
        places = [path for path in sys.path if path] + [str(Path(__file__).resolve().parents[2])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        copies: list[int] = []
        if fd is not None:  # its own standard input is what it ends with
            copies = [os.dup(fd)]
            order = {**order, "fd": copies[0]}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "device_app.capture.child", json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=copies,
        )
        for copy in copies:
            os.close(copy)
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        self.data_fd = self.process.stdout.fileno()
        self.log_fd = self.process.stderr.fileno()
        os.set_blocking(self.data_fd, False)
        os.set_blocking(self.log_fd, False)
        self.started = time.monotonic()
        self.last_words = ""
        """The last line that it wrote to standard error."""
        self._line = ""
        self._frames = FrameReader()

    def read_frames(self) -> list[Frame] | None:
        """The frames that became whole; None once the process has closed its end.

        Raises:
            ProtocolError: If it does not speak the protocol.
        """
        try:
            data = os.read(self.data_fd, _READ_BYTES)
        except BlockingIOError:
            return []
        return self._frames.feed(data) if data else None

    def read_log(self) -> bool:
        """Pass what it wrote to standard error to the debug log; False once it has closed its end."""
        try:
            data = os.read(self.log_fd, _READ_BYTES)
        except BlockingIOError:
            return True
        *lines, self._line = (self._line + data.decode(errors="replace")).split("\n")
        for line in lines:
            _log.debug("capture process %d: %s", self.process.pid, line)
            self.last_words = line.strip() or self.last_words
        self._line = self._line[-_LONGEST_LINE:]
        return bool(data)

    def end(self) -> int | None:
        """Kill it, if it still runs, and give its resources back.

        Returns:
            Its exit status (negative: the signal), or None if the system could not end it yet.
        """
        self.read_log()
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()
        try:
            return self.process.wait(5.0)
        except subprocess.TimeoutExpired:  # stuck in the kernel, as with a failing USB device
            _log.warning("capture process %d does not end", self.process.pid)
            return None

    def exit_status(self) -> int:
        """Its own exit status, once it has closed its pipe; waits a moment, then kills it."""
        try:
            return self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(5.0)
        finally:
            self.read_log()
