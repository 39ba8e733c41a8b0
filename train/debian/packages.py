"""The list of packages, and getting and unpacking them without installing anything."""

import csv
import logging
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from train.debian.tools import run
from train.errors import CorpusError

_log = logging.getLogger(__name__)

LIST = Path(__file__).with_name("packages.tsv")

SOUNDFONTS = (".sf2", ".sf3")
RAW = {
    ".g722": ["-f", "g722"],
    ".gsm": ["-f", "gsm"],
    ".sln16": ["-f", "s16le", "-ar", "16000", "-ac", "1"],
}
"""Formats that ffmpeg must be told."""
_AUDIO = (".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".aif", ".aiff", ".au", ".spx", *RAW)
_ARCHIVES = (".zip", ".wz", ".pk3")


@dataclass(frozen=True, slots=True)
class Rule:
    """Files whose path matches belong to a domain (``-``: to none) and may have a licence of their own."""

    pattern: re.Pattern[str]
    domain: str
    licence: str


@dataclass(frozen=True, slots=True)
class Package:
    """A line of the list."""

    name: str
    domain: str
    """Of files that no rule matches."""
    licence: str
    """Of files for which debian/copyright does not say, in a form that a program can read."""
    version: str
    """That the list was made with."""
    rules: tuple[Rule, ...]
    text: str
    """The line itself, less what was measured: a change of it makes the package's clips anew."""

    def classify(self, member: str) -> tuple[str, str]:
        """Domain and, if a rule names one, licence of a file; the first rule that matches wins."""
        for rule in self.rules:
            if rule.pattern.search(member):
                return rule.domain, rule.licence
        return self.domain, ""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a package, maybe inside an archive."""

    name: str
    suffix: str
    read: Callable[[], bytes]
    path: Path
    """The file itself, or the archive."""


def read_list(path: Path = LIST) -> list[Package]:
    """Read the list of packages.

    Raises:
        CorpusError: If a column, a name or a rule is wrong.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line for line in file if line.strip() and not line.startswith("#")]
    rows = list(csv.DictReader(lines, delimiter="\t"))
    packages = []
    for row in rows:
        name = row.get("package") or ""
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) or not row.get("domain") or not row.get("licence"):
            raise CorpusError(f"{path}: a line lacks a package name, a domain or a licence: {row}")
        text = row.get("rules") or ""
        packages.append(
            Package(
                name,
                row["domain"],
                row["licence"],
                row.get("version") or "",
                tuple(_rules(text, name)),
                "\t".join((name, row["domain"], row["licence"], text)),
            )
        )
    if not packages:
        raise CorpusError(f"{path} names no package")
    return packages


def _rules(text: str, package: str) -> list[Rule]:
    """Parse ``REGEX=>domain[@licence] ; ...``."""
    rules = []
    for part in filter(None, (piece.strip() for piece in text.split(" ; "))):
        regex, separator, target = part.rpartition("=>")
        domain, _, licence = target.strip().partition("@")
        try:
            if not separator:
                raise CorpusError(f"{package}: a rule without '=>': {part!r}")
            rules.append(Rule(re.compile(regex.strip(), re.IGNORECASE), domain, licence))
        except re.error as err:
            raise CorpusError(f"{package}: the rule {regex!r} is no regular expression: {err}") from err
    return rules


def fetch(package: Package, work: Path, strict: bool) -> tuple[str, Path, Path]:
    """Download a package with apt-get and unpack it.

    Returns:
        Its version, the folder it is in now, and the .deb file.

    Raises:
        CorpusError: If apt does not know it, it is not in Debian main, or, with ``strict``, it is another version.
    """
    text = run(["apt-cache", "show", "--no-all-versions", package.name]).decode()
    info = dict(re.findall(r"^(Version|Filename): (.+)$", text, re.MULTILINE))
    if "Filename" not in info:
        raise CorpusError(f"apt knows no package {package.name}: run apt-get update, on a Debian with main enabled")
    if not info["Filename"].startswith("pool/main/"):
        raise CorpusError(f"{package.name} is not in Debian main ({info['Filename']}), so its licence may not be free")
    version = info["Version"]
    if package.version and package.version != version:
        note = f"{package.name}: the list was made with version {package.version}, apt offers {version}"
        if strict:
            raise CorpusError(f"{note}; without --strict-versions that is only noted")
        _log.warning("%s", note)
    debs = work / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    pattern = f"{package.name}_{version.replace(':', '%3a')}_*.deb"
    if not list(debs.glob(pattern)):
        run(["apt-get", "-o", "APT::Sandbox::User=root", "download", f"{package.name}={version}"], cwd=debs)
    found = sorted(debs.glob(pattern))
    if not found:
        raise CorpusError(f"apt-get download left no {pattern} in {debs}")
    root = work / "unpacked" / package.name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run(["dpkg", "-x", str(found[-1]), str(root)])
    return version, root, found[-1]


def members(root: Path) -> list[Member]:
    """Every audio file and SoundFont in a folder, also inside zip archives, sorted by name."""
    found = []
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
        name, suffix = path.relative_to(root).as_posix(), path.suffix.lower()
        if suffix in _AUDIO or suffix in SOUNDFONTS:
            found.append(Member(name, suffix, path.read_bytes, path))
        elif suffix in _ARCHIVES and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inner = sorted(entry.filename for entry in archive.infolist() if not entry.is_dir())
            found += [
                Member(f"{name}/{entry}", Path(entry).suffix.lower(), _zip_reader(path, entry), path)
                for entry in inner
                if Path(entry).suffix.lower() in _AUDIO
            ]
    return found


def _zip_reader(path: Path, entry: str) -> Callable[[], bytes]:
    def read() -> bytes:
        with zipfile.ZipFile(path) as archive:
            return archive.read(entry)

    return read
