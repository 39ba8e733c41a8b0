"""The paper's ten data sets (its section 4.1) from the layouts they are published in, and how sets are named.

``NAME=FOLDER`` is a published set, ``FOLDER`` any folder of class folders, ``FOLDER@group`` the same clips by group.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from train.errors import CorpusError
from train.evaluate.datasets.animals import BIRDCLEF2020, WATKINS
from train.evaluate.datasets.environment import ESC50, FSDKAGGLE2018
from train.evaluate.datasets.instruments import NSYNTH
from train.evaluate.datasets.layout import Published, evaluation_classes
from train.evaluate.datasets.speech import ACCENT_ARCHIVE, COMMON_VOICE, CREMA_D, SPEECH_COMMANDS, VOXCELEB1
from train.evaluate.sets import LabelledSet, by_group, make_set, read_folder

_log = logging.getLogger(__name__)

PUBLISHED: dict[str, Published] = {
    published.name: published
    for published in (
        ESC50,
        NSYNTH,
        FSDKAGGLE2018,
        WATKINS,
        BIRDCLEF2020,
        VOXCELEB1,
        SPEECH_COMMANDS,
        CREMA_D,
        ACCENT_ARCHIVE,
        COMMON_VOICE,
    )
}
"""By the name on the command line, in the paper's order."""

_BY_GROUP = "@group"


def open_sets(names: Sequence[str]) -> list[LabelledSet]:
    """Open all the sets that are named.

    Raises:
        CorpusError: If one is missing, partial, or unknown.
    """
    return [open_set(name) for name in names]


def open_set(name: str) -> LabelledSet:
    """Open one set.

    Args:
        name: ``FOLDER``, ``FOLDER@group``, ``NAME=FOLDER``, ``NAME:all=FOLDER`` (not only the classes that are for
            evaluation) or ``NAME:FILE=FOLDER`` (the classes that a text file lists, one a line).

    Raises:
        CorpusError: If it is missing, partial, or unknown.
    """
    kind, equals, folder = name.partition("=")
    if not equals or Path(name).is_dir():
        return _open_folder(name)
    which, _, choice = kind.partition(":")
    if which not in PUBLISHED:
        raise CorpusError(f"unknown data set {which!r}: choose of {', '.join(PUBLISHED)}, or name a folder of classes")
    published, root = PUBLISHED[which], Path(folder)
    if not root.is_dir():
        raise CorpusError(f"{which}: {root} is not a folder: {published.where}")
    labelled = make_set(which, root, published.items(root))
    if note := _partial(published, labelled):
        _log.warning("%s: %s", which, note)
        labelled = make_set(which, root, labelled.items(), (note,))
    return labelled if choice == "all" else evaluation_classes(published, labelled, Path(choice) if choice else None)


def _open_folder(name: str) -> LabelledSet:
    if name.endswith(_BY_GROUP):
        labelled = read_folder(Path(name.removesuffix(_BY_GROUP)))
        return by_group(labelled, f"{labelled.name}{_BY_GROUP}")
    folder = Path(name)
    if folder.is_dir() and not (folder / "groups.csv").is_file() and any(folder.glob("*/groups.csv")):
        inside = ", ".join(sorted(path.parent.name for path in folder.glob("*/groups.csv")))
        raise CorpusError(f"{folder} is a folder of sets ({inside}): name those to evaluate, such as {folder}/*")
    return read_folder(folder)


def _partial(published: Published, labelled: LabelledSet) -> str:
    """What is missing of the published set, in words; empty if nothing is."""
    n_classes, n_clips = len(labelled.classes), len(labelled.paths)
    if n_classes >= published.n_classes and n_clips >= published.n_clips:
        return ""
    missing = [name for name in published.known_classes if name not in labelled.classes]
    named = f" (missing: {', '.join(missing[:8])}{', ...' if len(missing) > 8 else ''})" if missing else ""
    return (
        f"partial: {n_classes} of {published.n_classes} classes{named}, {n_clips} of {published.n_clips} clips; "
        f"{published.where}"
    )
