"""``earmark history``: past events as a table or as their JSON lines."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import rich.box
import rich.console
import rich.table

from device_app.errors import EarmarkError
from device_app.history.history import History, default_history_path
from device_app.listening.events import encode

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def print_history(path: Path | None, *, since: str | None, sound: str | None, last: int | None, as_json: bool) -> int:
    """Print past events, the oldest first. Returns the exit status.

    Raises:
        EarmarkError: If there is no history, or ``since`` is no time.
    """
    history = History(path or default_history_path())
    lines = history.lines(since=moment(since) if since else None, sound=sound, last=last)
    history.close()
    if as_json:
        for line in lines:
            print(encode(line))
        return 0
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    table.add_column("time", no_wrap=True)
    table.add_column("sound")
    for column in ("lasted", "score", "level", "id"):
        table.add_column(column, justify="right", no_wrap=True)
    if any(line.get("clip") for line in lines):
        table.add_column("recording", overflow="fold")
    for line in lines:
        began = datetime.fromisoformat(line["time"]).astimezone()
        lasted = f"{line['duration_s']:.1f} s" if line["type"] == "end" else "no end"  # it goes on, or we were killed
        row = [f"{began:%Y-%m-%d %H:%M:%S}", line["sound"], lasted, f"{line['score']:.1f}"]
        row += [f"{line['level_dbfs']:.0f} dBFS", line["id"][:8]]
        table.add_row(*row, *([line["clip"]] if line.get("clip") else []))
    console = rich.console.Console()
    console.print(table if lines else "no such events", highlight=False)
    return 0


def moment(text: str) -> datetime:
    """A moment: so long ago (``90m``, ``2h``, ``7d``), or an ISO 8601 date or time, local unless it says otherwise.

    Raises:
        EarmarkError: If it is neither.
    """
    if ago := _AGO.fullmatch(text):
        return datetime.now().astimezone() - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as err:
        raise EarmarkError(f"'{text}' is no time: write 90m, 2h, 7d, 2026-11-23 or 2026-11-23T08:30") from err
