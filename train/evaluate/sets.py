"""Labelled clips: folders of class folders, and what :mod:`train.evaluate.datasets` turns published layouts into.

A *group* is what clips have in common besides their class: a speaker, a recording, a pitch. Where a set has groups, a
query never shares its group with a support clip of its class: the sound is tested, not the recording.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from train.corpus.decode import find_audio
from train.errors import CorpusError

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Item:
    """One clip of a set."""

    path: Path
    label: str
    """Name of its class."""
    group: str | None = None
    """None if nothing is known that it shares with other clips."""


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Clips of one set, sorted by class and path."""

    name: str
    root: Path
    paths: tuple[Path, ...]
    labels: IntArray
    """(n_clips,) index into ``classes``."""
    groups: IntArray
    """(n_clips,) number of the group; a clip without one is a group of its own."""
    classes: tuple[str, ...]
    has_groups: bool
    """Whether any two clips are known to share a group."""
    notes: tuple[str, ...] = ()
    """What a reader of a result must know: a choice of classes, a download that is not whole."""

    @property
    def names(self) -> list[str]:
        """Path of each clip inside the set."""
        return [path.relative_to(self.root).as_posix() for path in self.paths]

    def sha256(self) -> str:
        """Hash of names, classes and groups: tasks drawn for one listing fit no other."""
        digest = hashlib.sha256()
        for name, label, group in zip(self.names, self.labels.tolist(), self.groups.tolist(), strict=True):
            digest.update(f"{name}\t{self.classes[label]}\t{group}\n".encode())
        return digest.hexdigest()

    def only(self, classes: Sequence[str], note: str) -> "LabelledSet":
        """The clips of some classes, with a note that says which."""
        chosen = set(classes)
        items = [item for item in self.items() if item.label in chosen]
        return make_set(self.name, self.root, items, (*self.notes, note))

    def items(self) -> list[Item]:
        """The clips one by one."""
        labels, groups = self.labels.tolist(), self.groups.tolist()
        return [
            Item(path, self.classes[label], str(group) if self.has_groups else None)
            for path, label, group in zip(self.paths, labels, groups, strict=True)
        ]


def make_set(name: str, root: Path, items: Sequence[Item], notes: tuple[str, ...] = ()) -> LabelledSet:
    """Number the classes and groups of some clips.

    Raises:
        CorpusError: If there are none.
    """
    if not items:
        raise CorpusError(f"{name}: no clips in {root}")
    items = sorted(items, key=lambda item: (item.label, item.path))
    classes, labels = np.unique([item.label for item in items], return_inverse=True)
    keys = [f"{i}" if item.group is None else f"group {item.group}" for i, item in enumerate(items)]
    kinds, groups = np.unique(keys, return_inverse=True)
    return LabelledSet(
        name,
        root,
        tuple(item.path for item in items),
        labels.astype(np.int64),
        groups.astype(np.int64),
        tuple(str(c) for c in classes),
        len(kinds) < len(items),
        notes,
    )


def read_folder(folder: Path) -> LabelledSet:
    """Read ``FOLDER/CLASS/CLIP``; ``groups.csv`` in it (path, group) names the group of each clip, if it is there.

    Raises:
        CorpusError: If the folder holds no audio, or audio outside class folders.
    """
    paths = find_audio(folder)
    groups_of: dict[str, str] = {}
    table = folder / "groups.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            groups_of = {row[0]: row[1] for row in csv.reader(file) if len(row) >= 2}
    items = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if "/" not in name:
            raise CorpusError(f"{folder.name}: {name} lies in no class folder: sort the clips as {folder}/CLASS/CLIP")
        items.append(Item(path, name.split("/")[0], groups_of.get(name)))
    return make_set(folder.name, folder, items)


def by_group(labelled: LabelledSet, name: str) -> LabelledSet:
    """The same clips with groups for classes and classes for groups: who speaks, not what is said.

    Raises:
        CorpusError: If the set has no groups.
    """
    if not labelled.has_groups:
        raise CorpusError(f"{labelled.name} has no groups that could be its classes: name them in its groups.csv")
    items = [replace(item, label=str(item.group), group=item.label) for item in labelled.items()]
    return make_set(name, labelled.root, items, labelled.notes)
