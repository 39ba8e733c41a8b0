"""What the loaders of published sets share: required files, tables, and which classes are for evaluation."""

import csv
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from train.errors import CorpusError
from train.evaluate.sets import Item, LabelledSet

csv.register_dialect("unquoted", delimiter="\t", quoting=csv.QUOTE_NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A data set as its authors publish it."""

    name: str
    home: str
    """Where it is had."""
    layout: str
    """What its folder holds, for people."""
    n_classes: int
    n_clips: int
    """Of the whole set, after what the paper leaves out."""
    n_evaluation: int = 0
    """Classes for evaluation in the paper (4.1); 0: all of them."""
    known_classes: tuple[str, ...] = ()
    """Names of all classes, where they are few."""
    items: Callable[[Path], list[Item]]
    """Reads the folder."""

    @property
    def where(self) -> str:
        """What the folder should hold, and where it is had, as the end of a sentence."""
        return f"the folder should hold {self.layout}; it is had from {self.home}"


class Folder:
    """A published set's folder, and its complaints."""

    def __init__(self, name: str, root: Path, where: str) -> None:
        self.name = name
        self.root = root
        self._where = where

    def missing(self, what: str) -> CorpusError:
        """The error that says what is not there."""
        return CorpusError(f"{self.name}: {self.root} lacks {what}: {self._where}")

    def require(self, *names: str) -> Path:
        """The first of some alternative files or folders that is there.

        Raises:
            CorpusError: If none is.
        """
        for name in names:
            if (self.root / name).exists():
                return self.root / name
        raise self.missing(" or ".join(names))

    def require_all(self, items: Iterable[Item]) -> list[Item]:
        """The items, all of whose files must be there.

        Raises:
            CorpusError: If one is not; says how many and which first.
        """
        items = list(items)
        absent = [item for item in items if not item.path.is_file()]
        if absent:
            first = absent[0].path.relative_to(self.root).as_posix()
            raise self.missing(f"{len(absent)} of the {len(items)} files that it lists (first: {first})")
        if not items:
            raise self.missing("any clips")
        return items

    def table(self, path: Path, *columns: str, tabs: bool = False) -> list[dict[str, str]]:
        """The rows of a table with a header; with ``tabs``, quotation marks mean nothing.

        Raises:
            CorpusError: If it cannot be read or lacks a column.
        """
        try:
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, dialect="unquoted" if tabs else "excel")
                rows = list(reader)
                absent = [column for column in columns if column not in (reader.fieldnames or ())]
        except (OSError, UnicodeDecodeError, csv.Error) as err:
            raise CorpusError(f"{self.name}: {path} cannot be read ({err}): {self._where}") from err
        if absent:
            raise CorpusError(f"{self.name}: {path} has no column {', '.join(absent)}: {self._where}")
        return rows


def evaluation_classes(published: Published, labelled: LabelledSet, listing: Path | None) -> LabelledSet:
    """The classes for evaluation: those that a file lists, or as many as in the paper.

    The paper's own choice is a pickled array of the MetaAudio repository, which is not read here; classes are taken in
    the order of their names' SHA-256 instead, which is as arbitrary, and the same for everybody.

    Raises:
        CorpusError: If the file cannot be read, or names a class that is not there.
    """
    if listing is not None:
        try:
            chosen = [line.strip() for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as err:
            raise CorpusError(f"{published.name}: the list of classes {listing} cannot be read ({err})") from err
        if unknown := [name for name in chosen if name not in labelled.classes]:
            raise CorpusError(
                f"{published.name} has no class {unknown[0]!r}, which {listing} lists ({len(unknown)} such lines): its "
                f"classes are {', '.join(labelled.classes[:8])}, ..."
            )
        return labelled.only(chosen, f"the {len(chosen)} classes that {listing.name} lists")
    if not published.n_evaluation or published.n_evaluation >= len(labelled.classes):
        return labelled
    order = sorted(labelled.classes, key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = order[: published.n_evaluation]
    return labelled.only(
        chosen, f"{len(chosen)} of {len(labelled.classes)} classes, by the hash of their names (not the paper's choice)"
    )
