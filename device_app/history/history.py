"""The events of the past in one SQLite file: what `earmark history` shows, and what corrections learn from."""

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from device_app.arrays import FloatArray
from device_app.database import open_database
from device_app.errors import EarmarkError
from device_app.history.heard_event import HeardEvent

_SCHEMA = 1
_MOST_EMBEDDED = 2000
"""Events whose embeddings are kept: up to 30 kB each. Older ones keep their line alone."""
_PRUNE_EVERY = 100
"""Events between two looks at what is too old."""

_TABLES = (
    """
    CREATE TABLE events (
        id TEXT PRIMARY KEY,
        time TEXT NOT NULL,       -- ISO 8601, UTC, of the start; sorts as it reads
        sound TEXT NOT NULL,
        line TEXT NOT NULL,       -- the event's latest JSON line
        model_id TEXT NOT NULL,
        size INTEGER NOT NULL,    -- of one embedding
        embeddings BLOB           -- little-endian float16, (n_windows, size); NULL once it is too old
    )
    """,
    "CREATE INDEX events_time ON events (time)",
)


def default_history_path() -> Path:
    """``$EARMARK_HISTORY``, or a file in the user's data folder."""
    named = os.environ.get("EARMARK_HISTORY")
    return Path(named) if named else platformdirs.user_data_path("earmark") / "history.sqlite3"


class History:
    """The events in one file. It is opened when it is first needed, and several processes may use it at once.

    Args:
        path: Of the file.
        keep_days: Events that are older are forgotten.
    """

    def __init__(self, path: Path, keep_days: float = 365.0) -> None:
        self.path = path
        self._keep_days = keep_days
        self._connection: sqlite3.Connection | None = None
        self._n_recorded = 0

    def record(self, line: Mapping[str, Any], model_id: str, embeddings: FloatArray) -> None:
        """Keep the latest state of an event; the same state again changes nothing.

        Args:
            line: Its JSON line, see docs/EVENTS.md.
            model_id: Of the model that made the embeddings.
            embeddings: (n_windows, size) float32, the windows that spoke for it.

        Raises:
            EarmarkError: If the disk is full, or the file cannot be written or is damaged.
        """
        try:
            self._record(line, model_id, embeddings)
        except (sqlite3.Error, OSError) as err:
            self.close()  # a connection that met an error is not worth keeping
            raise EarmarkError(f"cannot write the history {self.path} ({err}): free space on its disk") from err

    def _record(self, line: Mapping[str, Any], model_id: str, embeddings: FloatArray) -> None:
        database = self._open()
        values = {
            "id": line["id"],
            "time": line["time"],
            "sound": line["sound"],
            "line": json.dumps(line, ensure_ascii=False),
            "model_id": model_id,
            "size": embeddings.shape[1],
            "embeddings": embeddings.astype("<f2").tobytes(),
        }
        with database:
            database.execute(
                "INSERT OR REPLACE INTO events (id, time, sound, line, model_id, size, embeddings) "
                "VALUES (:id, :time, :sound, :line, :model_id, :size, :embeddings)",
                values,
            )
            if self._n_recorded % _PRUNE_EVERY == 0:
                oldest = datetime.now(UTC) - timedelta(days=self._keep_days)
                database.execute("DELETE FROM events WHERE time < ?", (oldest.isoformat(),))
                database.execute(
                    "UPDATE events SET embeddings = NULL WHERE embeddings IS NOT NULL AND time < "
                    "(SELECT min(time) FROM (SELECT time FROM events ORDER BY time DESC LIMIT ?))",
                    (_MOST_EMBEDDED,),
                )
        self._n_recorded += 1

    def event(self, event_id: str) -> HeardEvent:
        """One event.

        Args:
            event_id: Its id, or as many of its first digits as tell it from all others.

        Raises:
            EarmarkError: If there is no such event, or several.
        """
        found = self._select("WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", (event_id, event_id + "g"))
        if not found or not event_id:
            raise EarmarkError(f"there is no event {event_id} in {self.path}: `earmark history` lists them")
        if len(found) > 1:
            raise EarmarkError(f"several events in {self.path} begin with {event_id}: give more of the id")
        return found[0]

    def last(self, n: int) -> list[HeardEvent]:
        """The newest events, the newest first.

        Those whose embeddings are kept no longer have (0, size) of them.

        Raises:
            EarmarkError: If there is no history, or it is damaged.
        """
        return self._select("ORDER BY time DESC LIMIT ?", (n,))

    def lines(
        self, *, since: datetime | None = None, sound: str | None = None, last: int | None = None
    ) -> list[dict[str, Any]]:
        """The latest JSON line of each event, the oldest first.

        Args:
            since: Only events that began at this moment or later.
            sound: Only events of this sound.
            last: No more than the newest so many.

        Raises:
            EarmarkError: If there is no history, or it is damaged.
        """
        rows = self._rows(
            "SELECT line FROM events WHERE time >= ? AND (? IS NULL OR sound = ?) ORDER BY time DESC LIMIT ?",
            (since.astimezone(UTC).isoformat() if since else "", sound, sound, -1 if last is None else last),
        )
        return [json.loads(row[0]) for row in reversed(rows)]

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _select(self, where: str, values: Sequence[Any]) -> list[HeardEvent]:
        rows = self._rows(f"SELECT line, model_id, size, embeddings FROM events {where}", values)
        found = []
        for text, model_id, size, stored in rows:
            line = json.loads(text)
            embeddings = np.frombuffer(stored or b"", "<f2").astype(np.float32).reshape(-1, size)
            found.append(
                HeardEvent(
                    id=line["id"],
                    sound=line["sound"],
                    time=line["time"],
                    score=line["score"],
                    model_id=model_id,
                    embeddings=embeddings,
                )
            )
        return found

    def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            raise EarmarkError(
                f"there is no history in {self.path} yet: `earmark listen` writes it as it hears; "
                "if it wrote to another file, name that with --history"
            )
        try:
            return self._open().execute(query, values).fetchall()
        except sqlite3.Error as err:
            raise EarmarkError(f"cannot read the history {self.path} ({err}): move it away to begin a new one") from err

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_database(self.path, _SCHEMA, _TABLES)
        return self._connection
