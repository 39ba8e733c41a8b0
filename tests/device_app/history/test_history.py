import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from device_app.errors import EarmarkError
from device_app.history.history import History, default_history_path
from device_app.history.history_screen import moment

NOW = datetime.now(UTC)
WINDOWS = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32) / 8


def line(event_id: str, sound: str = "bell", age_s: float = 0.0, **more: object) -> dict[str, object]:
    time = (NOW - timedelta(seconds=age_s)).isoformat(timespec="milliseconds")
    return {"schema": 1, "type": "start", "id": event_id, "time": time, "sound": sound, "score": 3.5, **more}


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "deep" / "history.sqlite3")


def test_an_event_comes_back_as_it_was_recorded(history: History) -> None:
    history.record(line("a" * 32), "model", WINDOWS)
    event = History(history.path).event("a" * 32)
    assert (event.id, event.sound, event.score, event.model_id) == ("a" * 32, "bell", 3.5, "model")
    assert datetime.fromisoformat(event.time) == NOW.replace(microsecond=NOW.microsecond // 1000 * 1000)
    assert event.embeddings.dtype == np.float32
    np.testing.assert_allclose(event.embeddings, WINDOWS, rtol=0, atol=2e-4)  # kept in half precision


def test_the_end_of_an_event_replaces_its_start(history: History) -> None:
    history.record(line("a"), "model", WINDOWS[:1])
    history.record(line("a", type="end", end_s=4.0), "model", WINDOWS)
    (stored,) = history.lines()
    assert (stored["type"], stored["end_s"]) == ("end", 4.0)
    assert len(history.event("a").embeddings) == 3


def test_the_newest_events_come_first_and_no_more_than_were_asked_for(history: History) -> None:
    for i in range(5):
        history.record(line(f"{i}", age_s=100 - i), "model", WINDOWS)
    assert [event.id for event in history.last(3)] == ["4", "3", "2"]
    assert [entry["id"] for entry in history.lines(last=2)] == ["3", "4"]


def test_lines_can_be_chosen_by_sound_and_by_time(history: History) -> None:
    history.record(line("1", age_s=7200), "model", WINDOWS)
    history.record(line("2", age_s=60), "model", WINDOWS)
    history.record(line("3", "dog", age_s=30), "model", WINDOWS)
    assert [entry["id"] for entry in history.lines(since=NOW - timedelta(hours=1))] == ["2", "3"]
    assert [entry["id"] for entry in history.lines(sound="bell")] == ["1", "2"]
    assert history.lines(sound="cat") == []


def test_an_id_may_be_shortened_as_long_as_it_is_one_event(history: History) -> None:
    history.record(line("abc1"), "model", WINDOWS)
    history.record(line("abd2"), "model", WINDOWS)
    assert history.event("abc").id == "abc1"
    with pytest.raises(EarmarkError, match=r"several events .* begin with ab"):
        history.event("ab")


@pytest.mark.parametrize("unknown", ["ffff", "", "%"])
def test_an_unknown_id_is_named(history: History, unknown: str) -> None:
    history.record(line("abc1"), "model", WINDOWS)
    with pytest.raises(EarmarkError, match=f"no event {unknown} in"):
        history.event(unknown)


def test_a_history_that_does_not_exist_says_so_and_is_not_made_by_reading(history: History) -> None:
    with pytest.raises(EarmarkError, match="no history in"):
        history.last(1)
    assert not history.path.parent.exists()


def test_events_that_are_too_old_are_forgotten(history: History) -> None:
    history.record(line("old", age_s=10 * 86400), "model", WINDOWS)
    shorter = History(history.path, keep_days=7)
    shorter.record(line("new"), "model", WINDOWS)
    assert [event.id for event in shorter.last(10)] == ["new"]


def test_only_the_newest_events_keep_their_embeddings(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_app.history.history._MOST_EMBEDDED", 2)
    monkeypatch.setattr("device_app.history.history._PRUNE_EVERY", 1)
    for i in range(4):
        history.record(line(f"{i}", age_s=100 - i), "model", WINDOWS)
    assert [event.embeddings.shape for event in history.last(4)] == [(3, 8), (3, 8), (0, 8), (0, 8)]


def test_a_file_that_is_no_history_is_a_sentence(history: History) -> None:
    history.path.parent.mkdir()
    history.path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(EarmarkError, match=r"cannot read the history .* move it away"):
        history.last(1)
    with pytest.raises(EarmarkError, match="cannot write the history"):
        history.record(line("a"), "model", WINDOWS)


def test_a_newer_history_is_refused(history: History) -> None:
    history.path.parent.mkdir()
    with sqlite3.connect(history.path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(EarmarkError, match="newer earmark"):
        history.last(1)


def test_two_processes_may_write_at_once(history: History) -> None:
    code = (
        "import sys, pathlib, numpy as np; from device_app.history.history import History\n"
        "h = History(pathlib.Path(sys.argv[1]))\n"
        "for i in range(50): h.record({'id': f'{sys.argv[2]}{i}', 'time': f'2100-01-01T{i:02}', 'sound': 'x',"
        " 'score': 1.0}, 'm', np.zeros((1, 4), np.float32))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(history.path), name]) for name in "ab"]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(history.last(1000)) == 100


def test_the_environment_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EARMARK_HISTORY", str(tmp_path / "other.sqlite3"))
    assert default_history_path() == tmp_path / "other.sqlite3"
    monkeypatch.delenv("EARMARK_HISTORY")
    assert default_history_path().name == "history.sqlite3"


def earmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device_app", "history", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_a_table_or_the_lines_as_they_are(history: History) -> None:
    end = line("a" * 32, age_s=7200, type="end", duration_s=2.5, level_dbfs=-31.2, clip="/clips/bell.flac")
    start = line("b" * 32, "dog", age_s=60, duration_s=1.0, level_dbfs=-20.0)
    history.record(end, "model", WINDOWS)
    history.record(start, "model", WINDOWS)
    file = f"--history={history.path}"
    assert [json.loads(text) for text in earmark("--json", file).stdout.splitlines()] == [end, start]
    assert json.loads(earmark("--json", file, "--since", "1h").stdout) == start
    assert json.loads(earmark("--json", file, "--sound", "bell").stdout) == end
    table = earmark(file).stdout
    assert "2.5 s" in table
    assert "aaaaaaaa" in table
    assert "no end" in table
    assert earmark(file, "--sound", "cat").stdout.strip() == "no such events"


def test_what_is_no_time_is_a_sentence(history: History) -> None:
    history.record(line("a"), "model", WINDOWS)
    result = earmark(f"--history={history.path}", "--since", "yesterday")
    assert result.returncode == 1
    assert result.stderr.startswith("error: 'yesterday' is no time: write 90m")


def test_a_moment_is_so_long_ago_or_a_date() -> None:
    assert abs((NOW - moment("2h")).total_seconds() - 7200) < 600
    assert moment("2026-11-23T08:30+00:00") == datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
    assert moment("2026-11-23") == datetime(2026, 11, 23).astimezone()
