"""Writing files so that a reader sees the old one or the new one, never half of it."""

import contextlib
import io
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from device_app.errors import EarmarkError


def write_aside(path: Path, content: bytes) -> None:
    """Write a file beside ``path``, then move it into place.

    Raises:
        EarmarkError: If the disk is full or the folder cannot be written; ``path`` is then as it was before.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as err:
        raise EarmarkError(
            f"cannot write to {path.parent}: {err.strerror}; choose another folder or free space"
        ) from err
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _keep_names(path.parent)
    except OSError as err:
        raise EarmarkError(f"cannot write {path}: {err.strerror}; free space on the disk and try again") from err
    finally:
        aside.unlink(missing_ok=True)


def _keep_names(folder: Path) -> None:
    """Make sure that a power cut leaves a folder's names as they are now, where the file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_asides(folder: Path) -> None:
    """Delete what :func:`write_aside` left below a folder when its process was killed. Nobody may be writing there."""
    for aside in folder.rglob(".*.part"):
        aside.unlink(missing_ok=True)


def npz(**arrays: Any) -> bytes:
    """Arrays as the bytes of an npz file; strings as zero-dimensional arrays, so that no pickle is needed."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_npz(path: Path) -> dict[str, Any]:
    """The arrays of a file that holds what :func:`npz` made.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no such file.
    """
    content = io.BytesIO(path.read_bytes())
    if not zipfile.is_zipfile(content):  # np.load would take it for a pickle
        raise ValueError(f"{path} is not a whole npz file")
    content.seek(0)
    try:
        with np.load(content, allow_pickle=False) as stored:
            return dict(stored)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, MemoryError, OSError) as err:
        raise ValueError(f"{path} is damaged") from err
