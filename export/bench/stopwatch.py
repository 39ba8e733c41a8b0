"""Times of several programs, taken in turn in one run, so that what else the machine does falls on all alike.

The clock is that of the calling thread's own time on a processor. All programs here compute on one thread, so that this
is the time they take where nothing else runs, and a machine that is shared does not charge its waits to them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one program, in milliseconds of one processor a call."""

    median_ms: float
    fastest_ms: float


def race(programs: Mapping[str, Callable[[], object]], *, n_rounds: int = 40, n_calls: int = 5) -> dict[str, Timing]:
    """Time programs side by side.

    Args:
        programs: What to call, by name; each is called a few times before it counts.
        n_rounds: Rounds in which each has its turn.
        n_calls: Calls a turn, of which each counts.
    """
    for program in programs.values():
        for _ in range(3):
            program()
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(n_rounds):
        for name, program in programs.items():
            for _ in range(n_calls):
                start = time.thread_time()
                program()
                times[name].append(1e3 * (time.thread_time() - start))
    return {name: Timing(float(np.median(values)), float(np.min(values))) for name, values in times.items()}
