"""Watkins Marine Mammal Sound Database (best of) and BirdCLEF 2020, pruned as in the paper."""

from pathlib import Path

import soundfile

from train.corpus.decode import find_audio
from train.errors import CorpusError
from train.evaluate.datasets.layout import Folder, Published
from train.evaluate.sets import Item

_LONGEST_S = 180.0
_FEWEST_CLIPS = 50
_TAPE = 5
"""Characters of a Watkins record number that name the tape: year and number; the rest numbers the cut."""


def _watkins(root: Path) -> list[Item]:
    """A folder of each species. Cuts of one tape (first five digits of the record number) are one group."""
    folder = Folder("watkins", root, WATKINS.where)
    items = []
    for path in find_audio(root):
        species = path.parent.name
        if path.parent == root:
            raise folder.missing(f"a species' folder around {path.name}")
        known = len(path.stem) > _TAPE and path.stem[:_TAPE].isdigit()
        items.append(Item(path, species, path.stem[:_TAPE] if known else None))
    return items


WATKINS = Published(
    name="watkins",
    home="https://whoicf2.whoi.edu/science/B/whalesounds/ (best of cuts)",
    layout="a folder of WAV files for each species",
    n_classes=32,
    n_clips=1698,
    items=_watkins,
)


def _birdclef2020(root: Path) -> list[Item]:
    """A folder of each species; pruned as in MetaAudio: nothing over 180 s, then no species under 50 clips."""
    folder = Folder("birdclef2020", root, BIRDCLEF2020.where)
    species: dict[str, list[Item]] = {}
    for path in find_audio(root):
        if path.parent == root:
            raise folder.missing(f"a species' folder around {path.name}")
        try:
            duration_s = soundfile.info(path).duration
        except (soundfile.SoundFileError, OSError) as err:
            raise CorpusError(f"birdclef2020: class {path.parent.name!r}: {path} cannot be decoded ({err})") from err
        if duration_s <= _LONGEST_S:
            species.setdefault(path.parent.name, []).append(Item(path, path.parent.name))
    kept = [item for items in species.values() if len(items) >= _FEWEST_CLIPS for item in items]
    if not kept:
        raise folder.missing(f"any species with {_FEWEST_CLIPS} recordings of at most {_LONGEST_S:.0f} s")
    return kept


BIRDCLEF2020 = Published(
    name="birdclef2020",
    home="https://www.aicrowd.com/clef_tasks/22/task_dataset_files?challenge_id=211",
    layout="a folder of recordings for each species (the training part; MP3 or WAV)",
    n_classes=715,
    n_clips=63_364,
    n_evaluation=142,
    items=_birdclef2020,
)
