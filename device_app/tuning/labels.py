"""Which sounds a recording holds and when, as Audacity, Raven or a spreadsheet write it."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from device_app.errors import AudioError

_STARTS = ("begin time (s)", "start", "start_s", "begin", "onset")
_ENDS = ("end time (s)", "end", "end_s", "offset")
_NAMES = ("annotation", "label", "sound", "species", "common name", "event_label", "class", "tag")


@dataclass(frozen=True, slots=True)
class Label:
    """One occurrence of a sound."""

    sound: str
    start_s: float
    end_s: float


def read_labels(path: Path) -> list[Label]:
    """Read labels, whichever way they are written, sorted by their start.

    - Audacity's label track: start, end, name, with tabs and no header; lines of frequencies are passed over;
    - Raven's selection table: with tabs and a header; an annotation has one line for each of its views;
    - CSV with a header that names a start, an end and a label.

    Raises:
        AudioError: If the file cannot be read or is none of these.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise AudioError(f"cannot read the labels {path}: {err}; export them again as text") from err
    lines = [line for line in lines if line.strip() and not line.startswith("\\")]
    if not lines:
        raise AudioError(f"{path} holds no labels: export them again")
    found = _without_header(lines, path) if _is_number(lines[0].split("\t")[0]) else _with_header(lines, path)
    return sorted(set(found), key=lambda label: (label.start_s, label.end_s, label.sound))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _without_header(lines: list[str], path: Path) -> Iterator[Label]:
    for number, line in enumerate(lines, 1):
        parts = line.split("\t")
        if len(parts) < 3:
            raise AudioError(f"line {number} of {path} is not start, end and label with tabs between: {line[:60]!r}")
        yield _label(parts[2], parts[0], parts[1], number, path)


def _with_header(lines: list[str], path: Path) -> Iterator[Label]:
    delimiter = max("\t,;", key=lines[0].count)
    table = csv.DictReader(lines, delimiter=delimiter)
    header = {name.strip().lower(): name for name in table.fieldnames or ()}
    columns = [next((header[name] for name in names if name in header), None) for names in (_STARTS, _ENDS, _NAMES)]
    if None in columns:
        wanted = ("a start", "an end", "a label")[columns.index(None)]
        raise AudioError(
            f"{path} has no column of {wanted} among {', '.join(header)}: export Audacity's labels, a Raven selection "
            "table with an Annotation column, or CSV with start, end and label"
        )
    start, end, name = columns
    for number, row in enumerate(table, 2):
        yield _label(row[name] or "", row[start] or "", row[end] or "", number, path)


def _label(sound: str, start: str, end: str, number: int, path: Path) -> Label:
    try:
        label = Label(sound.strip(), float(start), float(end))
    except ValueError as err:
        raise AudioError(f"line {number} of {path}: {start!r} or {end!r} is no number of seconds") from err
    if not 0.0 <= label.start_s <= label.end_s < float("inf") or not label.sound:
        raise AudioError(f"line {number} of {path}: a label needs a name and a start before its end")
    return label
