"""Saving and loading runs: safetensors files, with all that is no tensor as JSON in their metadata."""

import logging
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from train.config import Config, config_from_dict
from train.errors import CheckpointError, ConfigError
from train.network.backbone import Backbone
from train.teachers import TEACHERS
from train.tensor_file import read_document, write_document

_log = logging.getLogger(__name__)

FORMAT = "earmark-checkpoint-2"
SUFFIX = ".safetensors"
LAST = f"last{SUFFIX}"
"""The newest checkpoint in a run's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """Where weights come from."""

    step: int
    """Optimiser steps done."""
    git_commit: str
    """Commit of the code that trained, with ``+changes`` if files differed from it; ``unknown`` outside a checkout."""
    config_sha256: str
    corpus_sha256: str
    """Content hash of the cache that was trained on."""
    val_loss: float | None = None
    """Last validation loss."""


def save_checkpoint(
    path: Path, *, info: CheckpointInfo, config: Config, model: dict[str, Any], training: dict[str, Any]
) -> None:
    """Write a checkpoint in one piece.

    Args:
        path: Where to; what is there is replaced only by a complete file.
        info: Where the weights come from.
        config: The resolved config.
        model: ``state_dict`` of a :class:`train.network.system.PretrainingSystem`; the backbone is under ``backbone.``.
        training: What only a resumed run needs: optimiser, counters, random states.

    Raises:
        TrainingError: If it cannot be written.
    """
    document = {
        "format": FORMAT,
        "info": {name: getattr(info, name) for name in CheckpointInfo.__dataclass_fields__},
        "config": config.to_dict(),
        "model": model,
        "training": training,
    }
    write_document(path, document)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The whole document, tensors on the CPU.

    Raises:
        CheckpointError: If it is missing, damaged, or not one of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}: pass the path of a {SUFFIX} file that a run has written")
    try:
        with path.open("rb") as file:  # what safetensors says of a file that it cannot open is not always so
            start = file.read(4)
        document = read_document(path)
    except OSError as err:
        raise CheckpointError(f"cannot read {path} ({err.strerror or err}): see to its permissions and disk") from err
    except ValueError as err:
        if _begins_a_pickle(start):
            raise CheckpointError(
                f"{path} is a pickle or a zip file, as torch.save and earlier versions write it, and is not opened, "
                f"because such a file can run code: pass a {SUFFIX} file, or train again"
            ) from err
        raise CheckpointError(
            f"{path} is damaged or no checkpoint ({err}): take an earlier one, or train again"
        ) from err
    if document.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this version ({FORMAT}): train again, or use its version")
    sections = [document.get(name) for name in ("info", "config", "model", "training")]
    if not all(isinstance(section, dict) for section in sections) or not (
        document["info"].keys() == CheckpointInfo.__dataclass_fields__.keys()
        and all(isinstance(value, Tensor) for value in document["model"].values())
    ):
        raise CheckpointError(f"{path} is damaged (parts of it are missing): take an earlier one, or train again")
    return document


def _begins_a_pickle(start: bytes) -> bool:
    """Whether these are the first bytes of a zip file, or of a pickle of protocol 2 or later."""
    return start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"))


def compact_checkpoint(path: Path, out: Path) -> int:
    """Write a checkpoint's weights alone, in half precision, heads included.

    Returns:
        Bytes of the new file.

    Raises:
        CheckpointError: If the checkpoint is missing or damaged.
    """
    document = read_checkpoint(path)
    model = {name: value.half() if value.is_floating_point() else value for name, value in document["model"].items()}
    write_document(out, {**document, "model": model, "training": {}})
    return out.stat().st_size


def checkpoint_config(document: dict[str, Any], path: Path) -> Config:
    """The config that a checkpoint was trained with.

    Raises:
        CheckpointError: If this version does not know its settings.
    """
    try:
        return config_from_dict(document["config"])
    except ConfigError as err:
        raise CheckpointError(f"{path} was trained with settings that this version does not know: {err}") from err


def load_backbone(path: str | Path) -> tuple[Backbone, Config, CheckpointInfo]:
    """Load a trained backbone, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: If the file is missing, damaged, or does not fit its own config.
    """
    path = Path(path)
    document = read_checkpoint(path)
    config = checkpoint_config(document, path)
    backbone = Backbone(config.model, config.frontend.n_channels)
    prefix = "backbone."
    state = {key.removeprefix(prefix): value for key, value in document["model"].items() if key.startswith(prefix)}
    load_weights(backbone, state, path)
    backbone.eval()
    return backbone, config, CheckpointInfo(**document["info"])


@dataclass(frozen=True, slots=True)
class LinearHead:
    """What predicts a teacher's answers."""

    branch: str
    """The task on whose embedding it sits."""
    linear: nn.Linear


def load_linear_heads(path: str | Path) -> dict[str, LinearHead]:
    """A checkpoint's predictions of its teachers' answers, by the name of the head; in float32.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    document = read_checkpoint(Path(path))
    heads: dict[str, LinearHead] = {}
    distil = checkpoint_config(document, Path(path)).distil
    for i, (teacher, branch) in enumerate(zip(distil.teachers, distil.branches, strict=True)):
        weight, bias = (document["model"][f"students.{i}.{kind}"] for kind in ("weight", "bias"))
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        heads[TEACHERS[teacher].head if teacher in TEACHERS else teacher] = LinearHead(branch, linear)
    return heads


def load_weights(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load a complete ``state_dict``.

    Raises:
        CheckpointError: If a tensor is missing, left over, or of another shape.
    """
    own = module.state_dict()
    for name in [*own, *state]:
        if name not in state or name not in own:
            where = "lacks" if name not in state else "has"
            raise CheckpointError(
                f"{path} is of another architecture: it {where} {name}; use the config it was made with"
            )
        if own[name].shape != state[name].shape:
            raise CheckpointError(
                f"{path} is of another architecture: {name} is {tuple(state[name].shape)}, "
                f"not {tuple(own[name].shape)}; use the config it was made with"
            )
    module.load_state_dict(state)


def git_commit() -> str:
    """Commit of this checkout, for :class:`CheckpointInfo`."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}+changes" if git("status", "--porcelain", "--", str(folder)) else commit
    except (OSError, subprocess.CalledProcessError):
        _log.debug("not a git checkout")
        return "unknown"
