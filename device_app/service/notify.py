"""What a service tells systemd: that it is ready, alive, reloading or stopping.

The protocol is one datagram a message, sd_notify(3); these lines follow the Python example of that manual page. (The
package ``sdnotify`` does the same, but saw its last release in 2016.)
"""

import logging
import os
import socket
import time
from collections.abc import MutableMapping

_log = logging.getLogger(__name__)


class ServiceManager:
    """Systemd, where it started this process with ``Type=notify``; elsewhere every call does nothing.

    Args:
        environment: Where ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` are looked for, and removed: they are not meant for
            the processes that this one starts.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "0")
        ours = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._interval_s = int(watchdog_us) / 2e6 if ours and watchdog_us.isdecimal() else 0.0
        self._next_s = 0.0

    def ready(self, status: str) -> None:
        """The service does its work, for the first time or after a reload."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The service reads its settings again; :meth:`ready` must follow."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service was asked to end."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog, twice as often as it asks; to be called more often than that."""
        now = time.monotonic()
        if self._interval_s and now >= self._next_s:
            self._next_s = now + self._interval_s
            self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        # an abstract address begins with a zero byte, which is written as @
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.sendto(message.encode(), address)
        except OSError as err:
            _log.warning("cannot tell systemd %s: %s", message.split("\n")[0], err)
