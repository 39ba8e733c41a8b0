"""What a run writes down as it goes: one JSON line a step, and the same for TensorBoard."""

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

from train.errors import TrainingError
from train.files import replace_file


class Records:
    """``metrics.jsonl`` and ``tensorboard/`` of a run's folder; a context manager."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Open the records, without what was written of steps after ``first_step``, which are done again."""
        path = folder / "metrics.jsonl"
        self._path = path
        if path.is_file():
            _trim(path, first_step)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step + 1, flush_secs=30)
        except OSError as err:
            raise TrainingError(f"cannot write to {folder} ({err.strerror}): choose another --out") from err

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record one step.

        Raises:
            TrainingError: If the disk is full.
        """
        rounded = {name: float(f"{value:.7g}") for name, value in values.items()}
        try:
            self._file.write(json.dumps({"step": step, **rounded}) + "\n")
            self._file.flush()
            for name, value in rounded.items():
                kind, _, what = name.rpartition("val_")
                self._board.add_scalar(
                    f"{'validation' if kind or name.startswith('val_') else 'training'}/{what}", value, step
                )
        except OSError as err:
            raise TrainingError(
                f"cannot write {self._path} ({err.strerror}): free some space and go on with --resume; "
                f"the last checkpoint is kept"
            ) from err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()


def _trim(path: Path, last_step: int) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    kept = [line for line in lines if json.loads(line)["step"] <= last_step]

    def write(aside: Path) -> None:
        aside.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    replace_file(path, write)
