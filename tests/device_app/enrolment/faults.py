"""Processes that die, or find the disk full, at the n-th thing that they do to the files of a folder."""

import contextlib
import errno
import multiprocessing
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "device_app.__main__",
        "device_app.enrolment.command",
        "device_app.corrections.command",
        "device_app.packs.command",
        "sklearn.linear_model",
        "tests.device_app.enrolment.survival_scenes",
    ]
)
_CHANGING = {"os.rename": 0, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.truncate": 0}
"""Audit events of Python that change files, and which of their arguments is the path."""


def run(
    scene: Callable[..., int], *arguments: Any, folder: Path, fault: Literal["kill", "full"], at: int | None, log: Path
) -> tuple[int, int]:
    """Run a scene in a process of its own that meets a fault.

    Args:
        scene: A function of a module; what it returns is the exit status.
        *arguments: Its arguments.
        folder: Only what is done to files below it counts.
        fault: Whether the process is killed, or the disk is full from then on.
        at: Before which operation, from 0; None for no fault.
        log: Receives what it prints.

    Returns:
        The exit status, -9 if it was killed, and the operations that it began.
    """
    counter = _context.Value("i", 0)
    process = _context.Process(target=_child, args=(scene, arguments, str(folder), fault, at, str(log), counter))
    process.start()
    process.join(60)
    assert process.exitcode is not None, "the scene did not end"
    return process.exitcode, counter.value


def _child(
    scene: Callable[..., int],
    arguments: tuple[Any, ...],
    folder: str,
    fault: Literal["kill", "full"],
    at: int | None,
    log: str,
    counter: Any,
) -> None:
    def meet(*, allocates: bool, descriptor: int | None = None) -> None:
        number = counter.value
        counter.value += 1
        if at is None or number < at:
            return
        if fault == "full":
            if allocates:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif number == at:
            if descriptor is not None and stat.S_ISREG(
                os.fstat(descriptor).st_mode
            ):  # half of what was written is all that reached the disk
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            if os.fspath(arguments[0]).startswith(folder) and arguments[2] & os.O_CREAT:
                meet(allocates=not os.path.exists(arguments[0]))  # noqa: PTH110
        elif event in _CHANGING and str(arguments[_CHANGING[event]]).startswith(folder):
            meet(allocates=event == "os.mkdir")

    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        meet(allocates=True, descriptor=descriptor)
        real_fsync(descriptor)

    with open(log, "w") as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):  # noqa: PTH123
        os.fsync = fsync
        sys.addaudithook(audit)
        status = scene(*arguments)
    sys.exit(status)
