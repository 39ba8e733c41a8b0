import pytest

from device_app.errors import EarmarkError
from device_app.outputs import backlog
from device_app.outputs.backlog import Backlog


class Disk:
    def __init__(self) -> None:
        self.full = False
        self.written: list[int] = []

    def write(self, item: int) -> None:
        if self.full:
            raise EarmarkError("the disk is full")
        self.written.append(item)


def test_what_a_full_disk_refused_is_written_in_order_once_there_is_space(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    waiting = Backlog(disk.write)
    waiting.put(1)
    disk.full = True
    waiting.put(2)
    waiting.put(3)
    assert (disk.written, len(waiting)) == ([1], 2)
    disk.full = False
    waiting.flush(now=True)
    waiting.put(4)
    assert (disk.written, len(waiting)) == ([1, 2, 3, 4], 0)
    assert [record.getMessage() for record in caplog.records] == [
        "the disk is full; what comes is kept in memory meanwhile",
        "the disk takes events again: nothing that waited was lost",
    ]


def test_a_full_disk_is_not_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, clock = Disk(), [100.0]
    monkeypatch.setattr(backlog.time, "monotonic", lambda: clock[0])
    waiting = Backlog(disk.write)
    disk.full = True
    waiting.put(1)
    disk.full = False
    waiting.flush()
    assert disk.written == []
    clock[0] += 6.0
    waiting.flush()
    assert disk.written == [1]


def test_memory_is_bounded_and_a_loss_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backlog, "_MOST", 3)
    disk = Disk()
    disk.full = True
    waiting = Backlog(disk.write)
    for item in range(5):
        waiting.put(item)
    disk.full = False
    waiting.flush(now=True)
    assert disk.written == [2, 3, 4]
    assert caplog.text.count("the oldest is lost") == 2
