"""``profile.json``: which sounds a profile holds, of which recordings, and what was set and corrected by hand."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from device_app.enrolment.sound_names import group_name
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import ProfileError
from device_app.files import write_aside

SCHEMA = 3
"""Version 1 had a list of recordings for each sound, without settings; version 2 no corrections and no ``-sound``."""


_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of one sound."""

    id: str
    """First 16 hex digits of the SHA-256 of its 16-bit samples: the same recording is never counted twice."""
    origin: str
    """The file it came from, or the microphone."""
    recorded: str
    """ISO 8601, UTC: when the microphone recorded it, or when a file was added."""
    licence: str | None = None
    """Terms of the pack that it came in; None of one's own."""

    def __post_init__(self) -> None:
        """Check it: files are named for it.

        Raises:
            ValueError: If something of it is not what it must be.
        """
        if not all(isinstance(value, str) for value in (self.id, self.origin, self.recorded, self.licence or "")):
            raise ValueError("a recording's id, origin, time and licence must be texts")
        if not _ID.fullmatch(self.id):
            raise ValueError(f"a recording's id is {self.id[:40]!r}, not 16 hex digits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Something a person said of what was heard, or was not."""

    kind: Literal["wrong", "missed"]
    """``wrong``: an event of ``sound`` was none. ``missed``: an event or a clip was ``sound``."""
    sound: str
    event: str | None
    """Id of the event; its embeddings are in ``events/``."""
    recording: str | None
    """Id of the recording that was added to the sound for it; None of an event."""
    time: str
    """When it was said, ISO 8601, UTC."""
    undone: str | None = None
    """When it was taken back, ISO 8601, UTC."""


@dataclass(slots=True)
class Index:
    """Everything that ``profile.json`` says."""

    sounds: dict[str, list[Recording]] = field(default_factory=dict)
    """Recordings of each group: a sound, ``background``, or ``-sound``."""
    settings: dict[str, SoundSettings] = field(default_factory=dict)
    """Of the sounds for which something was set by hand."""
    corrections: list[Correction] = field(default_factory=list)
    """Oldest first; what was undone stays in it."""

    @property
    def active_corrections(self) -> list[Correction]:
        """Those that count."""
        return [entry for entry in self.corrections if entry.undone is None]

    @property
    def recording_ids(self) -> set[str]:
        """Of all recordings."""
        return {entry.id for entries in self.sounds.values() for entry in entries}

    def owner(self, recording_id: str) -> str | None:
        """The group that a recording belongs to, if any."""
        return next(
            (name for name, known in self.sounds.items() if recording_id in {entry.id for entry in known}), None
        )

    @classmethod
    def read(cls, path: Path) -> "Index":
        """Read a file; one that does not exist is an empty index.

        Raises:
            ProfileError: If it cannot be read, is damaged or of a newer version.
        """
        index = cls()
        try:
            raw = json.loads(path.read_text("utf-8"))
            if raw["schema"] > SCHEMA:
                raise ProfileError(f"{path} was written by a newer earmark (schema {raw['schema']}): upgrade earmark")
            for name, stored in raw["sounds"].items():
                known = stored if raw["schema"] > 1 else {"recordings": stored, "settings": {}}
                index.sounds[group_name(name)] = [
                    Recording(entry["id"], entry["origin"], entry["recorded"], entry.get("licence"))
                    for entry in known["recordings"]
                ]
                if known["settings"]:
                    index.settings[name] = SoundSettings(**known["settings"])
            index.corrections = [Correction(**entry) for entry in raw.get("corrections", [])]
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except OSError as err:
            raise ProfileError(f"cannot read {path}: {err.strerror}; choose another with --profile") from err
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            raise ProfileError(
                f"{path} is damaged ({str(err)[:200]!r}): restore it from a backup, or enrol into a new folder with "
                f"--profile; the recordings are still in {path.parent / 'recordings'}, each with its sound as its title"
            ) from err
        return index

    def write(self, path: Path) -> None:
        """Replace the file.

        Raises:
            EarmarkError: If it cannot be written; it is then as it was before.
        """
        raw: dict[str, Any] = {
            "schema": SCHEMA,
            "sounds": {
                name: {
                    "recordings": [without_none(asdict(entry)) for entry in entries],
                    "settings": without_none(asdict(self.settings.get(name, SoundSettings()))),
                }
                for name, entries in self.sounds.items()
            },
            "corrections": [asdict(entry) for entry in self.corrections],
        }
        write_aside(path, json.dumps(raw, indent=1, ensure_ascii=False).encode())


def without_none(entry: dict[str, Any]) -> dict[str, Any]:
    """What is known of something."""
    return {key: value for key, value in entry.items() if value is not None}
