"""Building the corpus, package by package; what is done is not done again.

Layout: ``OUT/corpus/<domain>/<package>/<clip>.flac``, ``OUT/corpus/manifest.csv`` (every clip's source and licence),
``OUT/corpus/licences/`` (each package's debian/copyright: keep it with the clips), ``OUT/state`` and ``OUT/work``.
"""

import csv
import hashlib
import json
import logging
import random
import shutil
from dataclasses import asdict
from pathlib import Path

import soundfile
from tqdm import tqdm

from train.debian.clips import Known, Writer, decode, spans
from train.debian.instruments import render
from train.debian.licences import licence_of, stanzas
from train.debian.packages import SOUNDFONTS, Package, fetch, members, read_list
from train.debian.tools import MissingProgramError, Recipe, run
from train.errors import CorpusError
from train.files import replace_file

_log = logging.getLogger(__name__)

FIELDS = ("path", "package", "version", "domain", "seconds", "licence", "sha256", "kind", "source")
"""Columns of the manifest; sha256 is that of the clip's little-endian 16-bit samples."""

_VOICES = ["", *(f"+m{i}" for i in range(1, 8)), *(f"+f{i}" for i in range(1, 6)), "+croak", "+whisper"]


def build_corpus(
    out: Path,
    recipe: Recipe,
    *,
    only: list[str] | None = None,
    n_synthetic: int = 0,
    strict_versions: bool = False,
    keep_work: bool = False,
    progress: bool = True,
) -> Path:
    """Build or complete the corpus.

    Args:
        out: Folder for everything.
        recipe: What decides which clips come out.
        only: Names of the packages to take; all of the list without it.
        n_synthetic: Clips of numbers spoken by espeak-ng, a domain of its own.
        strict_versions: Whether another version of a package than the list's is an error.
        keep_work: Whether to keep the packages and what was unpacked.
        progress: Whether to draw bars on stderr.

    Returns:
        The folder of the clips.

    Raises:
        CorpusError: If a package is unknown or fails; those that succeeded are kept, and not done again.
    """
    packages = read_list()
    if only:
        unknown = sorted(set(only) - {package.name for package in packages})
        if unknown:
            names = ", ".join(package.name for package in packages)
            raise CorpusError(f"not in the list: {', '.join(unknown)}; choose among {names}")
        packages = [package for package in packages if package.name in only]
    corpus, state = out / "corpus", out / "state"
    state.mkdir(parents=True, exist_ok=True)
    known = Known()
    rows: list[dict[str, str]] = []
    failed: list[str] = []
    for package in packages:
        done = _done_before(state / f"{package.name}.json", corpus, package.text, recipe, known)
        if done is None:
            try:
                writer = _build_package(package, corpus, out / "work", known, recipe, strict_versions, progress)
            except CorpusError as err:
                _log.error("%s", err)
                failed.append(package.name)
                continue
            if not keep_work:
                shutil.rmtree(out / "work", ignore_errors=True)
            done = _finish(state / f"{package.name}.json", writer, package.text, recipe)
        rows += done
        _write_manifest(corpus / "manifest.csv", rows)
    if n_synthetic:
        rows += _speak(corpus, state / "espeak-ng.json", known, recipe, n_synthetic, progress)
        _write_manifest(corpus / "manifest.csv", rows)
    if failed:
        raise CorpusError(
            f"{len(failed)} of {len(packages)} packages failed: {', '.join(failed)}; run it again for them"
        )
    return corpus


def _build_package(
    package: Package, corpus: Path, work: Path, known: Known, recipe: Recipe, strict: bool, progress: bool
) -> Writer:
    version, root, _ = fetch(package, work, strict)
    _clear(corpus, package.name)
    text = root / "usr/share/doc" / package.name / "copyright"
    if not text.is_file():
        raise CorpusError(f"{package.name} ships no debian/copyright, so its licence cannot be told: leave it out")
    stated = stanzas(text.read_text("utf-8", "replace"))
    (corpus / "licences").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(text, corpus / "licences" / f"{package.name}.copyright.txt")
    files = members(root)
    if recipe.max_files and len(files) > recipe.max_files:
        rng = random.Random(f"{recipe.seed}:{package.name}")
        files = sorted(rng.sample(files, recipe.max_files), key=lambda member: member.name)
    writer = Writer(corpus, package.name, version, known, recipe)
    seen: set[bytes] = set()
    for member in tqdm(files, desc=package.name, unit="file", disable=not progress):
        domain, own_licence = package.classify(member.name)
        licence = own_licence or licence_of(stated, member.name, package.licence)
        if member.suffix in SOUNDFONTS:
            render(member.path, member.name, licence, writer)
            continue
        if domain == "-":
            continue
        data = member.read()
        digest = hashlib.sha256(data).digest()
        if digest in seen:
            writer.dropped["copies"] += 1
            continue
        seen.add(digest)
        try:
            x = decode(data, member.suffix)
        except MissingProgramError:
            raise
        except CorpusError as err:
            _log.debug("%s: %s", member.name, err)
            writer.dropped["unreadable"] += 1
            continue
        rng = random.Random(f"{recipe.seed}:{package.name}:{member.name}")
        for i, (first, last) in enumerate(spans(len(x), domain, rng, recipe)):
            writer.add(x[first:last], domain, licence, "recorded", member.name, i)
    if not writer.rows:
        raise CorpusError(f"{package.name} gave no usable clip of its {len(files)} audio files: {writer.dropped}")
    return writer


def _speak(
    corpus: Path, mark: Path, known: Known, recipe: Recipe, n_clips: int, progress: bool
) -> list[dict[str, str]]:
    """Numbers spoken by espeak-ng in all its languages."""
    text = f"espeak-ng {n_clips}"
    done = _done_before(mark, corpus, text, recipe, known)
    if done is not None:
        return done
    languages = []
    voices = run(["espeak-ng", "--voices"]).decode().splitlines()[1:]
    version = run(["dpkg-query", "-W", "-f", "${Version}", "espeak-ng"]).decode()
    for language in sorted({line.split()[1] for line in voices}):
        try:
            run(["espeak-ng", "-q", "-v", language + "+f4", "1"])
            languages.append(language)
        except CorpusError as err:  # some need data that is not installed
            _log.debug("%s", err)
    if not languages:
        raise CorpusError("espeak-ng has no usable voice: apt-get install espeak-ng-data")
    _clear(corpus, "espeak-ng")
    writer = Writer(corpus, "espeak-ng", version, known, recipe)
    for number in tqdm(range(n_clips), desc="espeak-ng", unit="clip", disable=not progress):
        rng = random.Random(f"{recipe.seed}:espeak-ng:{number}")
        language, voice = languages[number % len(languages)], rng.choice(_VOICES)
        numbers = [str(rng.choice((rng.randint(0, 99), rng.randint(0, 99_999)))) for _ in range(rng.randint(1, 4))]
        pitch, speed = str(rng.randint(20, 80)), str(rng.randint(110, 230))
        words = ", ".join(numbers)
        try:
            data = run(["espeak-ng", "-v", language + voice, "-p", pitch, "-s", speed, "--stdout", words])
        except CorpusError as err:  # a few voices crash on some numbers
            _log.debug("%s", err)
            writer.dropped["unreadable"] += 1
            continue
        x = decode(data, ".wav")[: int(recipe.clip_s * 16_000)]
        writer.add(x, "speech_synth", "GPL-3.0-or-later", "synthetic", f"{language}{voice}#{number}", 0)
    return _finish(mark, writer, text, recipe)


def _clear(corpus: Path, package: str) -> None:
    for folder in corpus.glob(f"*/{package}"):
        if folder.is_dir():
            shutil.rmtree(folder)


def _key(text: str, recipe: Recipe) -> str:
    return hashlib.sha256(json.dumps([text, asdict(recipe)]).encode()).hexdigest()


def _done_before(mark: Path, corpus: Path, text: str, recipe: Recipe, known: Known) -> list[dict[str, str]] | None:
    """Manifest lines of a package that an earlier run completed, its clips remembered; None if it must be done."""
    if not mark.is_file():
        return None
    done = json.loads(mark.read_text(encoding="utf-8"))
    rows: list[dict[str, str]] = done["rows"]
    if done["key"] != _key(text, recipe) or not all((corpus / row["path"]).is_file() for row in rows):
        return None
    for row in rows:
        samples, _ = soundfile.read(corpus / row["path"], dtype="int16")
        known.is_new(row["sha256"], samples, near=row["kind"] == "recorded")
    return rows


def _finish(mark: Path, writer: Writer, text: str, recipe: Recipe) -> list[dict[str, str]]:
    document = json.dumps({"key": _key(text, recipe), "rows": writer.rows, "dropped": writer.dropped})

    def write(aside: Path) -> None:
        aside.write_text(document, encoding="utf-8")

    replace_file(mark, write)
    _log.info("%s: %d clips, left out: %s", writer.package, len(writer.rows), writer.dropped)
    return writer.rows


def _write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    def write(aside: Path) -> None:
        with aside.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, FIELDS, lineterminator="\n")
            table.writeheader()
            table.writerows(sorted(rows, key=lambda row: row["path"]))

    replace_file(path, write)
