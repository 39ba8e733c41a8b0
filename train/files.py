"""Writing files so that a reader never sees half of one."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

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
    except (OSError, RuntimeError) as err:  # torch.save reports a full disk as a RuntimeError
        cause = err.strerror if isinstance(err, OSError) and err.strerror else str(err).splitlines()[0]
        full = isinstance(err, RuntimeError) or (isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT))
        advice = "free some space and go on with --resume" if full else "choose a folder that can be written to"
        raise TrainingError(f"cannot write {path} ({cause}): {advice}; what was there before is kept") from err
    finally:
        aside.unlink(missing_ok=True)
