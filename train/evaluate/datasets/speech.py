"""The paper's five sets of speech: who speaks, what, how, with which accent, in which language."""

import re
from pathlib import Path

from train.corpus.decode import find_audio
from train.evaluate.datasets.layout import Folder, Published
from train.evaluate.sets import Item


def _voxceleb1(root: Path) -> list[Item]:
    """``SPEAKER/VIDEO/CLIP.wav`` of both parts. A class is a speaker; clips of one video are one group."""
    folder = Folder("voxceleb1", root, VOXCELEB1.where)
    parts = [folder.require("vox1_dev_wav/wav", "dev/wav", "wav")]
    if parts[0].parent != root:
        parts.append(folder.require("vox1_test_wav/wav", "test/wav"))
    items = []
    for part in parts:
        for path in find_audio(part):
            names = path.relative_to(part).parts
            if len(names) == 3 and re.fullmatch(r"id\d+", names[0]):
                items.append(Item(path, names[0], names[1]))
    return folder.require_all(items)


VOXCELEB1 = Published(
    name="voxceleb1",
    home="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
    layout="vox1_dev_wav/wav/idNNNNN/VIDEO/NNNNN.wav and vox1_test_wav/wav/..., or both in wav/",
    n_classes=1251,
    n_clips=153_516,
    n_evaluation=249,
    items=_voxceleb1,
)

_WORDS = (
    "backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine no off on one "
    "right seven sheila six stop three tree two up visual wow yes zero"
)


def _speech_commands(root: Path) -> list[Item]:
    """``WORD/SPEAKER_nohash_N.wav``; ``_background_noise_`` is no word."""
    folder = Folder("speech-commands", root, SPEECH_COMMANDS.where)
    listed = folder.require("testing_list.txt").read_text(encoding="utf-8").split()
    folder.require_all(Item(root / name, name.split("/")[0]) for name in listed)
    items = []
    for path in find_audio(root):
        word, _, name = path.relative_to(root).as_posix().partition("/")
        if name and not word.startswith("_"):
            items.append(Item(path, word, name.split("_nohash_")[0]))
    return folder.require_all(items)


SPEECH_COMMANDS = Published(
    name="speech-commands",
    home="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    layout="a folder of WAV files for each of 35 words, and testing_list.txt",
    n_classes=35,
    n_clips=105_829,
    known_classes=tuple(_WORDS.split()),
    items=_speech_commands,
)

_EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}


def _crema_d(root: Path) -> list[Item]:
    """``AudioWAV/ACTOR_SENTENCE_EMOTION_LEVEL.wav``. A class is an emotion, a group an actor."""
    folder = Folder("crema-d", root, CREMA_D.where)
    audio = folder.require("AudioWAV")
    items = []
    for path in find_audio(audio):
        parts = path.stem.split("_")
        if len(parts) == 4 and parts[2] in _EMOTIONS:
            items.append(Item(path, _EMOTIONS[parts[2]], parts[0]))
    return folder.require_all(items)


CREMA_D = Published(
    name="crema-d",
    home="https://github.com/CheyneyComputerScience/CREMA-D (git lfs pull fetches the audio)",
    layout="AudioWAV/*.wav",
    n_classes=6,
    n_clips=7442,
    known_classes=tuple(_EMOTIONS.values()),
    items=_crema_d,
)


def _accent_archive(root: Path) -> list[Item]:
    """``speakers_all.csv`` names each recording's native language; every recording is another speaker's.

    Rows marked as missing in the published table are passed over, and so are languages of a single speaker, of which no
    task can be made (the paper drops them too).
    """
    folder = Folder("accent-archive", root, ACCENT_ARCHIVE.where)
    table = folder.require("speakers_all.csv")
    audio = folder.require("recordings/recordings", "recordings")
    rows = [
        row
        for row in folder.table(table, "filename", "native_language")
        if row["filename"] and (row.get("file_missing?") or "").strip().upper() != "TRUE"
    ]
    items = folder.require_all(Item(audio / f"{row['filename']}.mp3", row["native_language"]) for row in rows)
    counts: dict[str, int] = {}
    for item in items:
        counts[item.label] = counts.get(item.label, 0) + 1
    return [item for item in items if counts[item.label] > 1]


ACCENT_ARCHIVE = Published(
    name="accent-archive",
    home="https://www.kaggle.com/datasets/rtatman/speech-accent-archive",
    layout="speakers_all.csv and recordings/recordings/*.mp3",
    n_classes=122,
    n_clips=2060,
    items=_accent_archive,
)


def _common_voice(root: Path) -> list[Item]:
    """``LANGUAGE/validated.tsv`` and its clips. A class is a language, a group a speaker (``client_id``)."""
    folder = Folder("common-voice", root, COMMON_VOICE.where)
    tables = sorted(root.glob("*/validated.tsv"))
    if not tables:
        raise folder.missing("LANGUAGE/validated.tsv")
    items = []
    for table in tables:
        folder.require(f"{table.parent.name}/clips")
        rows = folder.table(table, "client_id", "path", tabs=True)
        items += [Item(table.parent / "clips" / row["path"], table.parent.name, row["client_id"]) for row in rows]
    return folder.require_all(items)


COMMON_VOICE = Published(
    name="common-voice",
    home="https://commonvoice.mozilla.org/datasets (delta segment 12.0, all languages)",
    layout="a folder for each language with validated.tsv and clips/*.mp3",
    n_classes=88,
    n_clips=256_243,
    items=_common_voice,
)
