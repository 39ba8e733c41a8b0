"""``earmark wrong``, ``missed``, ``undo`` and ``corrections``."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import rich.box
import rich.console
import rich.table

from device_app.corrections.corrections import Outcome, mark_missed_clip, mark_missed_event, mark_wrong, undo
from device_app.enrolment.profile import Profile, default_profile_path
from device_app.errors import AudioError, EarmarkError
from device_app.history.heard_event import HeardEvent
from device_app.model.embedder import Embedder, load_embedder
from device_app.recordings.long_recording import cut_out
from device_app.recordings.sound_files import read_recordings

LAST = "last"
"""In place of an event's id: the newest event."""


def wrong(
    event_id: str,
    profile_path: Path | None,
    model_path: Path | None,
    *,
    history_path: Path | None = None,
    as_json: bool,
) -> int:
    """Say that an event was not the sound. Returns the exit status.

    Args:
        event_id: An event's id, or ``last``.
        profile_path: None for the default one.
        model_path: None for the shipped one.
        history_path: Where the events are kept; None for the default one.
        as_json: Whether the outcome is printed as JSON.

    Raises:
        EarmarkError: If there is no such event, or it cannot be learned from.
    """
    event = find_event(event_id, history_path)
    return _correct(
        lambda profile, embedder: mark_wrong(profile, event, embedder), profile_path, model_path, as_json=as_json
    )


def missed(
    sound: str,
    origin: str,
    profile_path: Path | None,
    model_path: Path | None,
    *,
    at_s: Sequence[float],
    history_path: Path | None = None,
    as_json: bool,
) -> int:
    """Say that an event or a recording was a sound. Returns the exit status.

    Args:
        sound: What it was.
        origin: A file, an event's id, or ``last``.
        profile_path: None for the default one.
        model_path: None for the shipped one.
        at_s: The moment in the file; empty for all of it.
        history_path: Where the events are kept; None for the default one.
        as_json: Whether the outcome is printed as JSON.

    Raises:
        EarmarkError: If there is no such file or event, or it cannot be learned from.
    """
    path = Path(origin)
    if not path.is_file():
        if at_s or path.suffix or len(path.parts) > 1:  # neither an event's id nor ``last`` looks like that
            raise AudioError(f"cannot read {origin}: no such file; name a recording, an event's id or '{LAST}'")
        event = find_event(origin, history_path)
        return _correct(
            lambda profile, embedder: mark_missed_event(profile, sound, event, embedder),
            profile_path,
            model_path,
            as_json=as_json,
        )
    if len(at_s) > 1:
        raise EarmarkError("one moment at a time: each is a correction of its own")
    clip = cut_out(path, at_s[0]) if at_s else next(read_recordings(sound, [path]))
    return _correct(
        lambda profile, embedder: mark_missed_clip(profile, sound, clip, embedder),
        profile_path,
        model_path,
        as_json=as_json,
    )


def undo_last(profile_path: Path | None, model_path: Path | None, *, as_json: bool) -> int:
    """Take the last correction back. Returns the exit status.

    Raises:
        ProfileError: If there is none.
    """
    return _correct(undo, profile_path, model_path, as_json=as_json)


def find_event(event_id: str, history_path: Path | None = None) -> HeardEvent:
    """An event of the history.

    Raises:
        EarmarkError: If there is none.
    """
    from device_app.history.history import History, default_history_path

    history = History(history_path or default_history_path())
    if event_id != LAST:
        return history.event(event_id)
    newest = history.last(1)
    if not newest:
        raise EarmarkError("nothing was heard yet: there is no last event")
    return newest[0]


def _correct(
    change: Callable[[Profile, Embedder], Outcome], profile_path: Path | None, model_path: Path | None, *, as_json: bool
) -> int:
    profile = Profile(profile_path or default_profile_path())
    profile.require_taught()
    embedder = load_embedder(model_path)
    with profile.lock():
        started = time.monotonic()
        outcome = change(profile, embedder)
        took_s = time.monotonic() - started
    if as_json:
        print(json.dumps(asdict(outcome) | {"took_s": round(took_s, 3)}, ensure_ascii=False))
        return 0
    for sentence in sentences(outcome):
        print(sentence, file=sys.stderr)
    return 0


def sentences(outcome: Outcome) -> list[str]:
    """What a correction changed, in words."""
    correction = outcome.correction
    if correction.undone is not None:
        first = f"taken back: that {_what(correction.event)} was {_claim(correction.kind, correction.sound)}"
    elif outcome.heeded:
        first = f"learned: that {_what(correction.event)} was {_claim(correction.kind, correction.sound)}"
    elif correction.kind == "wrong":
        first = f"noted, but it still sounds like {correction.sound}: give more recordings of that sound"
    else:
        first = f"noted, but it does not sound enough like {correction.sound} yet: give more recordings like it"
    if not outcome.n_checked:
        return [first]
    checked = f"{outcome.n_right} of {outcome.n_checked} earlier recordings and corrections are taken for what they are"
    if not outcome.worse:
        change = "none got worse" if outcome.n_right == outcome.n_right_before else f"{outcome.n_right_before} before"
        return [first, f"{checked}; {change}"]
    undoing = "" if correction.undone is not None else ". `earmark undo` takes it back"
    return [first, f"{checked}; {len(outcome.worse)} got worse: {'; '.join(outcome.worse)}{undoing}"]


def _what(event: str | None) -> str:
    return "recording" if event is None else f"event {event[:8]}"


def _claim(kind: str, sound: str) -> str:
    return f"not {sound}" if kind == "wrong" else sound


def print_corrections(profile_path: Path | None, *, as_json: bool) -> int:
    """List all corrections, the oldest first, those that were undone as well. Returns the exit status."""
    corrections = Profile(profile_path or default_profile_path()).index.corrections
    if as_json:
        for correction in corrections:
            print(json.dumps(asdict(correction), ensure_ascii=False))
        return 0
    table = rich.table.Table("time", "what", "was", "undone", box=rich.box.SIMPLE_HEAD)
    for entry in corrections:
        table.add_row(entry.time, _what(entry.event), _claim(entry.kind, entry.sound), entry.undone or "")
    rich.console.Console().print(table)
    return 0
