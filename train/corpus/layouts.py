"""Which files of a folder are for training: all of them, or, in a published data set's layout, its training part."""

import csv
import logging
import re
from pathlib import Path

from train.corpus.decode import find_audio
from train.errors import CorpusError

_log = logging.getLogger(__name__)

_SEGMENT = re.compile(r"(?:_-?\d+(?:\.\d+)?){0,2}$")


def training_files(folder: Path) -> list[Path]:
    """Audio files to train on, sorted.

    FSD50K (Fonseca et al. 2022, arXiv:2010.00475) is known by its folder ``FSD50K.dev_audio``: the evaluation part is
    left out. AudioSet (Gemmeke et al. 2017) is known by a ``*_segments.csv``: with a ``*train_segments.csv`` only the
    clips that it lists are taken, and those of ``eval_segments.csv`` never are. Its files are named by their YouTube
    identifier, with or without a ``Y`` before and times behind it. Any other folder is taken as it is.

    Raises:
        CorpusError: If there is no audio, or none of it is in the training part.
    """
    if (folder / "FSD50K.dev_audio").is_dir():
        return _fsd50k(folder)
    tables = sorted(folder.rglob("*_segments.csv")) if folder.is_dir() else []
    return _audioset(folder, tables) if tables else find_audio(folder)


def _fsd50k(folder: Path) -> list[Path]:
    files = find_audio(folder / "FSD50K.dev_audio")
    table = folder / "FSD50K.ground_truth" / "dev.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            listed = {row["fname"] for row in csv.DictReader(file)}
        files = [path for path in files if path.stem in listed]
        if not files:
            raise CorpusError(f"{folder} is laid out as FSD50K, but none of its dev_audio is listed in {table}")
    _log.info("%s is laid out as FSD50K: %d clips of its development part", folder, len(files))
    return files


def _audioset(folder: Path, tables: list[Path]) -> list[Path]:
    wanted: set[str] = set()
    refused: set[str] = set()
    for table in tables:
        (wanted if "train" in table.name else refused).update(_identifiers(table))
    files = []
    for path in find_audio(folder):
        names = _possible_identifiers(path.stem)
        if names & refused or (wanted and not names & wanted):
            continue
        files.append(path)
    if not files:
        raise CorpusError(
            f"{folder} is laid out as AudioSet ({', '.join(table.name for table in tables)}), but no file is named "
            f"after a clip of its training part: name files YTID.wav or YYTID_start_end.wav, or remove the tables"
        )
    _log.info("%s is laid out as AudioSet: %d clips of its training part", folder, len(files))
    return files


def _identifiers(table: Path) -> set[str]:
    """First column of a segments table, whose comments start with ``#``."""
    lines = table.read_text(encoding="utf-8").splitlines()
    return {line.split(",")[0].strip() for line in lines if line.strip() and not line.startswith("#")}


def _possible_identifiers(stem: str) -> set[str]:
    """What an AudioSet file name may mean: an identifier has eleven characters, and may itself start with Y."""
    names = {stem, _SEGMENT.sub("", stem), stem[:11]}
    return names | {name[1:] for name in (stem, _SEGMENT.sub("", stem), stem[:12]) if name.startswith("Y")}
