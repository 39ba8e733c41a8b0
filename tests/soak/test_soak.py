from pathlib import Path

import pytest

from tests.soak.__main__ import run
from tests.soak.disturbances import EventAccount
from tests.soak.driver import MOST_GROWTH


def test_hours_with_kills_hangs_broken_files_and_clock_jumps_lose_no_event_and_tell_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run(tmp_path, n_hours=4, hour_s=60.0, monkeypatch=monkeypatch)
    assert report.faults == []
    assert report.n_events >= 4
    assert report.n_notices > 20
    assert report.heard_s == pytest.approx(244.0)
    assert report.growth <= MOST_GROWTH


def test_an_account_of_events_notices_what_is_missing_and_what_is_too_many() -> None:
    account = EventAccount([("bell", 3.0)], [0.0, 60.0])
    assert account.verdict() == ["2 events were lost, the first at 3.0 s"]
