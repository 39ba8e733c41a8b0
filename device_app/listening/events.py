"""Events as JSON lines: an interface that other programs rely on. Names are frozen; entries are only added.

Version 1, one object a line:

``type``       ``start`` or ``end`` of a sound, or ``source`` for a change in the state of the microphone
``id``         the same for the start and the end of one event, never used twice
``time``       wall clock of the beginning, ISO 8601, UTC
``sound``, ``start_s``, ``fired_s``, ``score``, ``runner_up``, ``level_dbfs``   of ``start`` and ``end``
``end_s``, ``duration_s``   of ``end`` alone
``state``, ``reason``, ``message``   of ``source`` alone
"""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from device_app.capture import Notice
from device_app.listening.detector import SoundEvent

SCHEMA = 1


class EventWriter:
    """Makes the lines of one run; it remembers which start an end belongs to."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}

    def sound(self, event: SoundEvent, epoch_s: float) -> str:
        """The line of a sound's start or end.

        Args:
            event: From the recogniser.
            epoch_s: Wall clock at the zero of the source's clock, seconds since the epoch.
        """
        ended = event.end_s is not None
        if not ended:
            self._open[event.sound] = uuid.uuid4().hex
        line: dict[str, Any] = {
            "schema": SCHEMA,
            "type": "end" if ended else "start",
            "id": self._open[event.sound],
            "time": _iso(epoch_s + event.start_s),
            "sound": event.sound,
            "start_s": round(event.start_s, 3),
            "fired_s": round(event.fired_s, 3),
            "score": round(event.score, 3),
            "runner_up": event.runner_up,
            "level_dbfs": round(event.level_dbfs, 1),
        }
        if event.end_s is not None:
            line |= {"end_s": round(event.end_s, 3), "duration_s": round(event.end_s - event.start_s, 3)}
        return json.dumps(line, ensure_ascii=False)

    @staticmethod
    def source(notice: Notice) -> str:
        """The line of a change in the source's state."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "type": "source",
                "id": uuid.uuid4().hex,
                "time": _iso(notice.time),
                "state": notice.state,
                "reason": notice.reason,
                "message": notice.sentence,
            },
            ensure_ascii=False,
        )


def _iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds")
