"""NSynth (Engel et al. 2017, arXiv:1704.01279): single notes of 1,006 instruments."""

import json
from pathlib import Path

from train.errors import CorpusError
from train.evaluate.datasets.layout import Folder, Published
from train.evaluate.sets import Item

_PARTS = ("nsynth-train", "nsynth-valid", "nsynth-test")


def _nsynth(root: Path) -> list[Item]:
    """All three parts. A class is an instrument, a group its notes of one pitch, which differ in loudness alone."""
    folder = Folder("nsynth", root, NSYNTH.where)
    items = []
    for part in _PARTS:
        table = folder.require(f"{part}/examples.json")
        folder.require(f"{part}/audio")
        try:
            notes = json.loads(table.read_text(encoding="utf-8"))
            items += [
                Item(table.parent / "audio" / f"{name}.wav", note["instrument_str"], f"pitch {note['pitch']}")
                for name, note in notes.items()
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise CorpusError(f"nsynth: {table} cannot be read ({err!r}): {NSYNTH.where}") from err
    return folder.require_all(items)


NSYNTH = Published(
    name="nsynth",
    home="https://magenta.tensorflow.org/datasets/nsynth (the json/wav files)",
    layout=f"{', '.join(_PARTS)}, each with examples.json and audio/*.wav",
    n_classes=1006,
    n_clips=305_978,
    n_evaluation=200,
    items=_nsynth,
)
