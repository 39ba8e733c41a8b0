"""What a pack says of itself: ``manifest.json``, checked entry by entry, for it may come from anybody."""

import json
import re
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from device_app import __version__
from device_app.enrolment.profile_index import Recording, without_none
from device_app.enrolment.sound_names import group_name
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import PackError, ProfileError

FORMAT = "earmark-pack"
SCHEMA = 1
NOT_STATED = "not stated"
"""A licence that nobody gave."""
_ID = re.compile(r"[0-9a-f]{16}")
_MODEL_ID = re.compile(r"[0-9a-f]{1,64}")
MOST_TEXT = 500
"""Characters of any one text."""
MOST_RECORDINGS = 2000
_MOST_SOUNDS = 200
"""More than these take a fit gigabytes of memory."""
_MOST_SIZE = 8192
"""Width of an embedding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in a pack."""

    model_id: str
    """Of the model that made the embeddings."""
    embedding_size: int
    """Width of one embedding."""
    licence: str
    """On which terms the pack may be used and handed on; recordings that came in another pack have their own."""
    created: str
    """ISO 8601, UTC."""
    with_audio: bool
    """Whether every recording is in it, besides its embeddings."""
    sounds: dict[str, list[Recording]]
    """Recordings of each group: a sound, ``background``, or ``-sound``."""
    settings: dict[str, SoundSettings] = field(default_factory=dict)
    """Of the sounds for which something was set by hand."""
    report: dict[str, Any] | None = None
    """The enrolment's report, if there was one: for people."""

    def to_json(self) -> str:
        """As it stands in the file."""
        raw: dict[str, Any] = {"format": FORMAT, "schema": SCHEMA, "earmark": __version__, **asdict(self)}
        raw["settings"] = {name: without_none(entry) for name, entry in raw["settings"].items()}
        raw["sounds"] = {name: [without_none(entry) for entry in entries] for name, entries in raw["sounds"].items()}
        return json.dumps(raw, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read and check a manifest.

        Raises:
            PackError: If anything in it is missing, of the wrong type, or out of bounds.
        """
        try:
            raw = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
            if not isinstance(raw, dict) or raw.get("format") != FORMAT:
                raise PackError("it is not a pack of Earmark's")
            if _whole(raw["schema"], 1, 10**6) > SCHEMA:
                raise PackError(f"it uses schema {raw['schema']}, this program reads up to {SCHEMA}: upgrade earmark")
            sounds = {group_name(_text(name)): _recordings(entries) for name, entries in raw["sounds"].items()}
            if len(sounds) < len(raw["sounds"]):
                raise PackError("two of its sounds have the same name")
            if len(sounds) > _MOST_SOUNDS:
                raise PackError(f"it holds more than {_MOST_SOUNDS} sounds")
            ids = [entry.id for entries in sounds.values() for entry in entries]
            if not ids or len(ids) > MOST_RECORDINGS or len(set(ids)) < len(ids):
                raise PackError(f"it names no recordings, more than {MOST_RECORDINGS}, or one of them twice")
            settings = {group_name(_text(name)): _settings(entry) for name, entry in raw["settings"].items()}
            if not set(settings) <= set(sounds):
                raise PackError("it has settings of sounds that are not in it")
            if not isinstance(raw["with_audio"], bool) or not isinstance(raw["report"], dict | None):
                raise PackError("its entries are of the wrong type")
            return cls(
                model_id=_matching(_MODEL_ID, raw["model_id"]),
                embedding_size=_whole(raw["embedding_size"], 1, _MOST_SIZE),
                licence=_text(raw["licence"]),
                created=_time(raw["created"]),
                with_audio=raw["with_audio"],
                sounds=sounds,
                settings=settings,
                report=raw["report"],
            )
        except ProfileError as err:
            raise PackError(str(err)) from err
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            raise PackError(f"its manifest is damaged ({type(err).__name__})") from err


def _recordings(entries: Any) -> list[Recording]:
    if not isinstance(entries, list) or not entries:
        raise TypeError("recordings")
    return [
        Recording(
            _matching(_ID, entry["id"]),
            _text(entry["origin"]),
            _time(entry["recorded"]),
            _text(entry["licence"]) if "licence" in entry else None,
        )
        for entry in entries
    ]


def _settings(raw: Any) -> SoundSettings:
    if not isinstance(raw, dict) or not set(raw) <= {entry.name for entry in fields(SoundSettings)}:
        raise TypeError("settings")
    try:
        return SoundSettings(**raw)
    except ValueError as err:
        raise PackError(f"of the settings of a sound in it, {err}") from err


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT or not value.isprintable():
        raise TypeError("text")
    return value


def _time(value: Any) -> str:
    if datetime.fromisoformat(_text(value)).tzinfo is None:
        raise ValueError("time")
    return value


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(_text(value)):
        raise ValueError("id")
    return value


def _whole(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise TypeError("number")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("the same name twice")
    return dict(pairs)
