"""Databases that several open at once."""

import sqlite3
import threading
from pathlib import Path

import pytest

from device_app.database import open_database
from device_app.errors import EarmarkError

TABLES = ("CREATE TABLE things (name TEXT)",)


def test_who_opens_a_new_database_waits_for_one_who_is_about_to_write(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "x.sqlite3", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, other.execute, ["COMMIT"])
    timer.start()
    open_database(tmp_path / "x.sqlite3", 1, TABLES).close()
    timer.join()
    other.close()


def test_a_database_that_stays_locked_is_an_error_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_app.database._OPENING_S", 0.05)
    other = sqlite3.connect(tmp_path / "x.sqlite3")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        open_database(tmp_path / "x.sqlite3", 1, TABLES)
    other.close()


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    open_database(tmp_path / "x.sqlite3", 2, TABLES).close()
    with pytest.raises(EarmarkError, match="newer earmark"):
        open_database(tmp_path / "x.sqlite3", 1, TABLES)
