"""Events as JSON lines: an interface that other programs rely on, described in docs/EVENTS.md.

Names are frozen, entries and types are only added; ``device_app/data/event.schema.json`` says it for machines.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from device_app.capture import Notice
from device_app.listening.sound_event import SoundEvent

SCHEMA = 1


def sound_line(event: SoundEvent, start: datetime, clip: str | None = None) -> dict[str, Any]:
    """The line of a sound's start, update or end.

    Args:
        event: From the recogniser.
        start: Wall clock of its start.
        clip: Path of its recording, if there is one.
    """
    line: dict[str, Any] = {
        "schema": SCHEMA,
        "type": event.phase,
        "id": event.id,
        "time": _iso(start),
        "sound": event.sound,
        "start_s": round(event.start_s, 3),
        "fired_s": round(event.fired_s, 3),
        "duration_s": round(event.duration_s, 3),
        "score": round(event.score, 3),
        "runner_up": event.runner_up,
        "level_dbfs": round(event.level_dbfs, 1),
    }
    if event.end_s is not None:
        line |= {"end_s": round(event.end_s, 3), "clip": clip}
    return line


def source_line(notice: Notice) -> dict[str, Any]:
    """The line of a change in the source's state."""
    return {
        "schema": SCHEMA,
        "type": "source",
        "id": uuid.uuid4().hex,
        "time": _iso(datetime.fromtimestamp(notice.time, UTC)),
        "state": notice.state,
        "reason": notice.reason,
        "message": notice.sentence,
    }


def encode(line: Mapping[str, Any]) -> str:
    """A line as it is written and posted."""
    return json.dumps(line, ensure_ascii=False)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
