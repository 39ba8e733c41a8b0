"""SQLite files that several processes use at once and that a power cut leaves whole."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from device_app.errors import EarmarkError

_OPENING_S = 10.0
"""How long to wait for others while the file is opened, perhaps made: on a busy disk that takes seconds."""
_IN_USE_S = 2.0
"""How long to wait for others afterwards: whoever listens may not stand still for longer."""


def open_database(path: Path, schema: int, tables: Sequence[str]) -> sqlite3.Connection:
    """Open a database, and make it if it is new.

    Args:
        path: Of the file; its folder is made, too.
        schema: Version of the tables, from 1.
        tables: The statements that make them.

    Raises:
        EarmarkError: If the file was written by a newer program.
        OSError: If the folder cannot be made.
        sqlite3.Error: If the file cannot be opened or is no database.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=_OPENING_S)
    try:
        _write_ahead(database)
        database.execute("PRAGMA synchronous = FULL")  # what was committed survives a power cut
        database.execute("BEGIN IMMEDIATE")  # two processes may both find it new
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version > schema:
            raise EarmarkError(f"{path} was written by a newer earmark (schema {version}): upgrade earmark")
        if version == 0:
            for statement in tables:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {schema}")
        database.commit()
        database.execute(f"PRAGMA busy_timeout = {round(1000 * _IN_USE_S)}")
    except (sqlite3.Error, EarmarkError):
        database.close()
        raise
    return database


def _write_ahead(database: sqlite3.Connection) -> None:
    """Choose the mode in which readers do not wait for the writer, nor it for them.

    Whatever the timeout, SQLite does not wait for one who is about to write before it changes the mode: of two that
    open a new file at once one would be told that it is locked.
    """
    until = time.monotonic() + _OPENING_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
