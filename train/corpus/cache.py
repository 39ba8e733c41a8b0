"""A corpus decoded once: int16 shards that are mapped into memory, and an index.

A cache is a folder with ``shard-NNNNN.i16`` (little-endian samples, clip after clip), ``shard-NNNNN.json`` (which
clips, which files were left out and why, the shard's SHA-256) and ``cache.json`` (the whole). A shard's two files are
there only if it is complete, so that building goes on after a kill where it stopped. Recordings longer than ten seconds
are entered as clips of up to ten, so that a long one is drawn as often as as many short ones.
"""

import hashlib
import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from train.corpus.decode import Int16Array, UnusableAudioError, read_clip
from train.corpus.layouts import training_files
from train.errors import CorpusError
from train.files import replace_file

_log = logging.getLogger(__name__)

FORMAT = 1
FILES_A_SHARD = 1024
SEGMENT_S = 10.0
"""Seconds of the longest clip in the index."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Where a clip lies."""

    path: str
    """Of its file in the folder that was cached, with ``/``; several folders are told apart by their names."""
    domain: str
    """First folder of ``path``."""
    shard: int
    start: int
    """First sample in the shard."""
    n_samples: int


class Cache:
    """A complete cache, opened for reading."""

    def __init__(self, folder: Path, verify: bool = True) -> None:
        """Open a cache and, with ``verify``, compare every shard with its checksum.

        Raises:
            CorpusError: If it is missing, incomplete, of another format, or damaged.
        """
        self.folder = folder
        document = _read_json(folder / "cache.json")
        if document is None:
            raise CorpusError(
                f"{folder} holds no complete cache: build it with `python -m train cache --audio FOLDER --out {folder}`"
            )
        if document.get("format") != FORMAT:
            raise CorpusError(f"{folder} is a cache of format {document.get('format')}, not {FORMAT}: build it again")
        self.sample_rate = int(document["sample_rate"])
        self.sha256 = str(document["sha256"])
        self.clips: list[Clip] = []
        self._shards: list[Int16Array] = []
        for name, expected in document["shards"]:
            entry = _read_json(folder / f"{name}.json")
            if entry is None or entry["sha256"] != expected:
                raise CorpusError(f"{folder / name}.json is missing or damaged: delete it and build the cache again")
            self._open_shard(entry, folder / f"{name}.i16", verify)

    def _open_shard(self, entry: dict[str, Any], path: Path, verify: bool) -> None:
        if not _complete_shard(path, entry):
            raise CorpusError(
                f"{path} is missing or cut short: delete {path.with_suffix('.json')} and build the cache again"
            )
        if verify and _sha256_of_file(path) != entry["sha256"]:
            raise CorpusError(
                f"{path} is damaged (its checksum differs): "
                f"delete {path.with_suffix('.json')} and build the cache again"
            )
        if not entry["clips"]:
            return
        index = len(self._shards)
        self._shards.append(np.memmap(path, dtype="<i2", mode="r"))
        for name, start, n_samples in entry["clips"]:
            self.clips.append(Clip(name, name.split("/")[0], index, start, n_samples))

    def samples(self, clip: Clip, start: int, n_samples: int) -> Int16Array:
        """Up to ``n_samples`` samples of a clip from ``start`` on, a view of the file: (n,) int16."""
        first = clip.start + start
        return self._shards[clip.shard][first : min(first + n_samples, clip.start + clip.n_samples)]

    @property
    def hours(self) -> float:
        """Duration of all clips."""
        return sum(clip.n_samples for clip in self.clips) / self.sample_rate / 3600


def build_cache(folders: Sequence[Path], out: Path, sample_rate: int, progress: bool = True) -> Cache:
    """Decode all audio in ``folders``; shards that are already there and of the same files are kept.

    Args:
        folders: Searched with all the folders in them. A clip's domain is its first folder in the one searched.
        out: The cache; made if it is not there.
        sample_rate: Hz.
        progress: Whether to draw a bar on stderr.

    Raises:
        CorpusError: If there is no audio, or none that can be read, or ``out`` is a cache of another sample rate.
    """
    sources = list(_sources(folders))
    earlier = _read_json(out / "cache.json")
    if earlier is not None and earlier.get("sample_rate") != sample_rate:
        raise CorpusError(
            f"{out} is a cache at {earlier.get('sample_rate')} Hz, not {sample_rate}: choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    with tqdm(total=len(sources), unit="file", disable=not progress, desc="decoding") as bar:
        for number, first in enumerate(range(0, len(sources), FILES_A_SHARD)):
            part = sources[first : first + FILES_A_SHARD]
            entries.append(_build_shard(out / f"shard-{number:05d}", part, sample_rate, bar))
    return _complete(out, entries, sample_rate, folders)


def _complete(out: Path, entries: list[dict[str, Any]], sample_rate: int, folders: Sequence[Path]) -> Cache:
    skipped = [item for entry in entries for item in entry["skipped"]]
    for name, reason in skipped[:20]:
        _log.warning("left out: %s %s", name, reason)
    if len(skipped) > 20:
        _log.warning("... and %d more, listed in %s", len(skipped) - 20, out / "shard-*.json")
    n_clips = sum(len(entry["clips"]) for entry in entries)
    if not n_clips:
        raise CorpusError(
            f"none of the {len(skipped)} audio files in {', '.join(map(str, folders))} can be used; "
            f"the first, {skipped[0][0]}, {skipped[0][1]}"
        )
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(json.dumps([entry["sha256"], entry["clips"]]).encode())
    document = {
        "format": FORMAT,
        "sample_rate": sample_rate,
        "sha256": digest.hexdigest(),
        "n_clips": n_clips,
        "n_skipped": len(skipped),
        "shards": [[f"shard-{number:05d}", entry["sha256"]] for number, entry in enumerate(entries)],
    }
    _write_json(out / "cache.json", document)
    return Cache(out, verify=False)


def _sources(folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Name in the index and path of every audio file; the names are all different."""
    seen: set[str] = set()
    for folder in folders:
        for path in training_files(folder):
            name = path.relative_to(folder).as_posix()
            if "/" not in name:
                name = f"{folder.resolve().name}/{name}"
            while name in seen:
                name = f"{name.split('/')[0]}/{folder.resolve().name}/{name.split('/', 1)[1]}"
            seen.add(name)
            yield name, path


def _build_shard(stem: Path, sources: list[tuple[str, Path]], sample_rate: int, bar: "tqdm[Any]") -> dict[str, Any]:
    signature = hashlib.sha256(
        json.dumps([sample_rate, [(name, path.stat().st_size) for name, path in sources]]).encode()
    ).hexdigest()
    audio, index = stem.with_suffix(".i16"), stem.with_suffix(".json")
    entry = _read_json(index)
    if entry is not None and entry.get("sources_sha256") == signature and _complete_shard(audio, entry):
        bar.update(len(sources))
        return entry
    index.unlink(missing_ok=True)  # from here on the shard is not complete
    clips: list[tuple[str, int, int]] = []
    skipped: list[tuple[str, str]] = []
    digest = hashlib.sha256()

    def write(aside: Path) -> None:
        position = 0
        with aside.open("wb") as file:
            for name, samples in _decoded(sources, sample_rate, bar):
                if isinstance(samples, str):
                    skipped.append((name, samples))
                    continue
                data = samples.astype("<i2").tobytes()
                file.write(data)
                digest.update(data)
                for start, n_samples in segments(len(samples), round(SEGMENT_S * sample_rate)):
                    clips.append((name, position + start, n_samples))
                position += len(samples)

    replace_file(audio, write)
    entry = {"sources_sha256": signature, "sha256": digest.hexdigest(), "clips": clips, "skipped": skipped}
    _write_json(index, entry)
    return entry


def _complete_shard(audio: Path, entry: dict[str, Any]) -> bool:
    return audio.is_file() and audio.stat().st_size == 2 * sum(n for _, _, n in entry["clips"])


def segments(n_samples: int, longest: int) -> Iterator[tuple[int, int]]:
    """Start and length of the fewest pieces of about the same length, none longer than ``longest``."""
    n_pieces = -(-n_samples // longest)
    edges = [round(i * n_samples / n_pieces) for i in range(n_pieces + 1)]
    for first, last in itertools.pairwise(edges):
        yield first, last - first


def _decoded(
    sources: list[tuple[str, Path]], sample_rate: int, bar: "tqdm[Any]"
) -> Iterator[tuple[str, Int16Array | str]]:
    """Name and samples of each file in order, or the reason why there are none; a few files are decoded ahead."""

    def decode(path: Path) -> Int16Array | str:
        try:
            return read_clip(path, sample_rate)
        except UnusableAudioError as err:
            return str(err)

    ahead = 16
    with ThreadPoolExecutor(max_workers=4) as pool:
        pending = [pool.submit(decode, path) for _, path in sources[:ahead]]
        for i, (name, _) in enumerate(sources):
            if i + ahead < len(sources):
                pending.append(pool.submit(decode, sources[i + ahead][1]))
            yield name, pending.pop(0).result()
            bar.update()


def _read_json(path: Path) -> dict[str, Any] | None:
    """The document, or None where there is none that can be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _write_json(path: Path, document: dict[str, Any]) -> None:
    replace_file(path, lambda aside: _write_text(aside, json.dumps(document, ensure_ascii=False)))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
