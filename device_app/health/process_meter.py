"""What processes cost: processor time and memory, as Linux counts them."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from device_app.errors import EarmarkError

_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$")


def cpu_s(pids: Sequence[int]) -> float:
    """Processor time that processes have used so far, seconds, of all their threads together.

    Raises:
        EarmarkError: If there is no such process, or this system does not tell.
    """
    ticks = 0
    for pid in pids:
        fields = _read(pid, "stat").rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime: proc_pid_stat(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(pids: Sequence[int]) -> dict[str, float]:
    """Memory of processes by what it holds, MB, as if nothing else ran on this machine.

    What they wrote themselves counts for each of them. What is mapped from a file counts once, however many processes
    share it: ours here, or others that happen to use the same libraries.

    Raises:
        EarmarkError: If there is no such process, or this system does not tell.
    """
    own = 0
    mapped: dict[str, int] = defaultdict(int)
    for pid in pids:
        resident: dict[str, int] = defaultdict(int)
        path = ""
        for line in _read(pid, "smaps").splitlines():
            name, _, rest = line.partition(":")
            if found := _MAPPING.match(line):
                path = found[1]
            elif name == "Rss" and path.startswith("/"):
                resident[path] += int(rest.split()[0])
            elif name == "Anonymous":
                own += int(rest.split()[0])
                resident[path] -= int(rest.split()[0])
        for path, kb in resident.items():
            if path.startswith("/"):
                mapped[path] = max(mapped[path], kb)
    parts: dict[str, float] = defaultdict(float, {"data": own / 1024.0})
    for path, kb in mapped.items():
        parts[_library(path)] += kb / 1024.0
    return dict(sorted(parts.items(), key=lambda part: -part[1]))


def _library(path: str) -> str:
    for package in ("onnxruntime", "numpy"):
        if f"/{package}" in path:
            return package
    return "Python" if Path(path).name.startswith(("python", "libpython")) else "other libraries"


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError as err:
        raise EarmarkError(f"this system does not tell what process {pid} costs ({err.strerror})") from err
