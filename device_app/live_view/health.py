"""How the machine fares: load and memory of our processes, and its temperature."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from device_app.errors import EarmarkError
from device_app.health.process_meter import cpu_s, memory_mb

_PERIOD_S = 2.0
_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
"""Thousandths of a degree Celsius."""


class Health:
    """Looks every two seconds; what this system does not tell is left out."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0.0
        self._cpu_s = 0.0

    def text(self, process_ids: Sequence[int]) -> str:
        """One line.

        Args:
            process_ids: Our processes.
        """
        now = time.monotonic()
        if now - self._at < _PERIOD_S:
            return self._text
        parts = []
        with contextlib.suppress(EarmarkError):  # a capture process that ended just now, or no Linux
            used_s = cpu_s(process_ids)
            if self._at:
                parts.append(f"CPU {100.0 * max(0.0, used_s - self._cpu_s) / (now - self._at):.0f} % of a core")
            self._cpu_s = used_s
            parts.append(f"memory {sum(memory_mb(process_ids).values()):.0f} MB")
        with contextlib.suppress(OSError, ValueError):
            parts.append(f"{int(_TEMPERATURE.read_text()) / 1000.0:.0f} °C")
        self._at, self._text = now, ", ".join(parts)
        return self._text
