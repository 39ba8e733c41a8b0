"""What waits to be posted, on disk: it survives a restart and a power cut."""

import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from device_app.database import open_database
from device_app.errors import EarmarkError

_log = logging.getLogger(__name__)

_SCHEMA = 1
_TABLES = (
    """
    CREATE TABLE messages (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL,
        refused INTEGER           -- the status with which the receiver refused it for good; it is not sent again
    )
    """,
)


def default_outbox_path() -> Path:
    """In the user's data folder."""
    return platformdirs.user_data_path("earmark") / "outbox.sqlite3"


@dataclass(frozen=True, slots=True)
class Message:
    """One line to post."""

    key: str
    """The same each time that it is sent, and of no other message."""
    body: str
    """JSON."""


class Outbox:
    """A queue in a file, first in, first out. It is opened when it is first needed; one object serves one thread.

    Args:
        path: Of the file.
        most_waiting: When more messages wait than this, the oldest are given up.
    """

    def __init__(self, path: Path, most_waiting: int) -> None:
        self.path = path
        self._most = most_waiting
        self._connection: sqlite3.Connection | None = None

    def put(self, message: Message) -> None:
        """Append a message; one whose key is there already is passed over.

        Raises:
            EarmarkError: As with every other method, if the disk is full or the file is damaged.
        """
        self._execute("INSERT OR IGNORE INTO messages (key, body) VALUES (?, ?)", message.key, message.body)
        n_waiting = self.n_waiting()
        if n_waiting > self._most:
            self._execute(
                "DELETE FROM messages WHERE position IN "
                "(SELECT position FROM messages WHERE refused IS NULL ORDER BY position LIMIT ?)",
                n_waiting - self._most,
            )
            _log.error("more than %d messages wait for the webhook: the oldest is given up", self._most)

    def first(self) -> Message | None:
        """The oldest message that waits."""
        rows = self._execute("SELECT key, body FROM messages WHERE refused IS NULL ORDER BY position LIMIT 1")
        return Message(*rows[0]) if rows else None

    def remove(self, key: str) -> None:
        """Forget a message: it was delivered."""
        self._execute("DELETE FROM messages WHERE key = ?", key)

    def refuse(self, key: str, status: int) -> None:
        """Set a message aside that the receiver will not take; only the newest hundred such are kept."""
        self._execute("UPDATE messages SET refused = ? WHERE key = ?", status, key)
        self._execute(
            "DELETE FROM messages WHERE refused IS NOT NULL AND position NOT IN "
            "(SELECT position FROM messages WHERE refused IS NOT NULL ORDER BY position DESC LIMIT 100)"
        )

    def n_waiting(self) -> int:
        """How many messages wait."""
        return int(self._execute("SELECT count(*) FROM messages WHERE refused IS NULL")[0][0])

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        try:
            if self._connection is None:
                self._connection = open_database(self.path, _SCHEMA, _TABLES)
            with self._connection:
                return self._connection.execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as err:
            self.close()  # a connection that met an error is not worth keeping
            raise EarmarkError(
                f"cannot use the webhook's queue {self.path} ({err}): free space on its disk, or move the file away"
            ) from err
