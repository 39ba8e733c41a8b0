"""Writing files so that a reader never sees half of one."""

import errno
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from train.errors import TrainingError


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file beside ``path``, and move it there only when it is whole.

    Raises:
        TrainingError: If it cannot be written; what was at ``path`` stays.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as err:
        full = err.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space and go on with --resume" if full else "choose a folder that can be written to"
        raise TrainingError(
            f"cannot write {path} ({err.strerror or err}): {advice}; what was there before is kept"
        ) from err
    finally:
        aside.unlink(missing_ok=True)


def save_text(path: Path, text: str) -> None:
    """Write a text file in one piece."""
    save_bytes(path, text.encode())


def save_npz(path: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write arrays in one piece, without pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    save_bytes(path, buffer.getvalue())


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """What :func:`save_npz` has written.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, EOFError, KeyError, AttributeError) as err:
        raise ValueError(str(err) or "cut short") from err


def save_bytes(path: Path, data: bytes) -> None:
    """Write bytes in one piece."""

    def write(aside: Path) -> None:
        aside.write_bytes(data)

    replace_file(path, write)
