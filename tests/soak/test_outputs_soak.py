from pathlib import Path

import pytest

from tests.soak.outputs import DISTURBANCES, ENDS, run


def test_no_event_is_lost_or_told_twice_when_the_receiver_dies_and_the_program_is_killed(tmp_path: Path) -> None:
    account = run(tmp_path, [("receiver is dead", "SIGKILL"), ("receiver fails", "end of input")])
    assert account.faults == []
    assert account.n_killed == 1
    assert len(account.printed) >= 15


@pytest.mark.slow
def test_no_event_is_lost_or_told_twice_in_any_disturbance(tmp_path: Path) -> None:
    account = run(tmp_path, [(disturbance, end) for disturbance in DISTURBANCES for end in ENDS])
    assert account.faults == []
