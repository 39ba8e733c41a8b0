"""A document of tensors and plain values in one safetensors file, which is read without running anything in it.

A tensor lies under its path in the document (``model/backbone.stem_conv.weight``); all else, and the SHA-256 of the
whole, is one JSON text in the file's metadata. Keys become text, tuples lists; memory formats are not kept.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from train.files import save_bytes

_KEY = "earmark"
"""Of the metadata: a single one, since safetensors writes several in any order."""
_CHECKSUM = "sha256"


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write nested dicts of tensors and of values that JSON knows, in one piece.

    Raises:
        TrainingError: If it cannot be written; what was at ``path`` stays.
    """
    tensors: dict[str, Tensor] = {}
    plain = _take_tensors(document, "", tensors)
    text = json.dumps({_CHECKSUM: _digest(plain, tensors), **plain})
    save_bytes(path, save(tensors, {_KEY: text}))


def read_document(path: Path) -> dict[str, Any]:
    """What :func:`write_document` has written, tensors on the CPU.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged or another kind of file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                raise ValueError("a safetensors file of something else")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        document: dict[str, Any] = json.loads(text)
        if document.pop(_CHECKSUM) != _digest(document, tensors):
            raise ValueError("its checksum differs")
        for name, tensor in tensors.items():
            *outer, last = name.split("/")
            place = document
            for key in outer:
                place = place[key]
            place[last] = tensor
    except SafetensorError as err:
        raise ValueError(f"no whole safetensors file: {str(err).rpartition(': ')[2]}") from err
    except RecursionError as err:
        raise ValueError("its metadata are nested without end") from err
    except (AttributeError, KeyError, TypeError) as err:  # JSON of another structure
        raise ValueError("its metadata do not fit together") from err
    return document


def _take_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` without its tensors, which go to ``tensors`` by their paths; contiguous, each in memory of its own."""
    if not isinstance(value, dict):
        return value
    plain = {}
    for key, entry in value.items():
        where = f"{path}{key}"
        assert "/" not in str(key), f"{where!r} would be read as a path"
        if isinstance(entry, Tensor):
            tensors[where] = entry.detach().cpu().clone(memory_format=torch.contiguous_format)
        else:
            plain[str(key)] = _take_tensors(entry, f"{where}/", tensors)
    return plain


def _digest(plain: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(plain).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
