"""ESC-50 and FSDKaggle2018: sounds of Freesound."""

from pathlib import Path

from train.evaluate.datasets.layout import Folder, Published
from train.evaluate.sets import Item


def _esc50(root: Path) -> list[Item]:
    """Class and source recording as ``meta/esc50.csv`` gives them: clips of one recording are one group."""
    folder = Folder("esc50", root, ESC50.where)
    folder.require("audio")
    rows = folder.table(folder.require("meta/esc50.csv"), "filename", "category", "src_file")
    return folder.require_all(Item(root / "audio" / row["filename"], row["category"], row["src_file"]) for row in rows)


ESC50 = Published(
    name="esc50",
    home="https://github.com/karolpiczak/ESC-50",
    layout="audio/*.wav and meta/esc50.csv",
    n_classes=50,
    n_clips=2000,
    n_evaluation=10,
    items=_esc50,
)


def _fsdkaggle2018(root: Path) -> list[Item]:
    """Both parts, as in the paper: the training part, and the clips of the test part that were scored."""
    folder = Folder("fsdkaggle2018", root, FSDKAGGLE2018.where)
    parts = (
        ("FSDKaggle2018.audio_train", "train_post_competition.csv"),
        ("FSDKaggle2018.audio_test", "test_post_competition_scoring_clips.csv"),
    )
    items = []
    for audio, table in parts:
        folder.require(audio)
        rows = folder.table(folder.require(f"FSDKaggle2018.meta/{table}"), "fname", "label", "freesound_id")
        items += [Item(root / audio / row["fname"], row["label"], row["freesound_id"]) for row in rows]
    return folder.require_all(items)


FSDKAGGLE2018 = Published(
    name="fsdkaggle2018",
    home="https://zenodo.org/records/2552860",
    layout="FSDKaggle2018.audio_train/, FSDKaggle2018.audio_test/ and FSDKaggle2018.meta/",
    n_classes=41,
    n_clips=11_073,
    n_evaluation=7,
    items=_fsdkaggle2018,
)
