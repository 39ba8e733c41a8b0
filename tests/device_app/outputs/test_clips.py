import os
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from device_app.capture import Block
from device_app.config import ClipsConfig
from device_app.errors import EarmarkError
from device_app.listening.sound_event import Phase, SoundEvent
from device_app.outputs import clips
from device_app.outputs.clips import ClipRecorder

RATE = 1000
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def event(phase: Phase, start_s: float, last_s: float, number: int = 1, sound: str = "bell") -> SoundEvent:
    return SoundEvent(
        phase=phase,
        id=f"{number:032x}",
        sound=sound,
        start_s=start_s,
        fired_s=start_s + 1.0,
        last_s=last_s,
        score=4.25,
        runner_up=None,
        level_dbfs=-30.0,
        embeddings=np.zeros((0, 0), np.float32),
    )


def block(start_s: float, n_lost: int = 0, rate: int = RATE) -> Block:
    """A tenth of a second whose samples count up in 1/32767: the n-th of the source is n."""
    start = round(start_s * rate)
    count = np.arange(start, start + rate // 10)
    return Block((count / 32767.0).astype(np.float32), rate, start, n_lost, 0.0)


def play(recorder: ClipRecorder, from_s: float, to_s: float) -> None:
    for step in range(round(from_s * 10), round(to_s * 10)):
        recorder.block(block(step / 10))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "clips"


def recorder(folder: Path, **config: float) -> ClipRecorder:
    return ClipRecorder(ClipsConfig(folder=folder, **{"pre_roll_s": 1.0, "post_roll_s": 0.5, **config}))


def record_one(recorder: ClipRecorder, start_s: float, end_s: float, number: int = 1) -> Path | None:
    recorder.start(event("start", start_s, start_s + 1.0, number))
    return recorder.end(event("end", start_s, end_s, number), NOW)


def test_a_recording_holds_the_sound_with_what_came_before_it_and_a_little_after(folder: Path) -> None:
    keep = recorder(folder)
    play(keep, 0.0, 6.0)
    keep.start(event("start", 5.0, 6.0))
    play(keep, 6.0, 9.0)
    path = keep.end(event("end", 5.0, 7.0), NOW)
    assert path == folder / f"20260102T030405Z_bell_4.2_{1:032x}.flac"
    samples, rate = sf.read(path, dtype="int16")
    assert rate == RATE
    np.testing.assert_array_equal(samples, np.arange(4000, 7500))


def test_what_was_not_heard_yet_is_not_in_it(folder: Path) -> None:
    keep = recorder(folder)
    play(keep, 0.0, 3.0)
    path = record_one(keep, 0.5, 2.9)
    assert path is not None
    np.testing.assert_array_equal(sf.read(path, dtype="int16")[0], np.arange(0, 3000))


def test_of_a_long_event_the_beginning_is_kept_and_memory_stays_bounded(folder: Path) -> None:
    keep = recorder(folder, longest_s=5.0)
    play(keep, 0.0, 2.0)
    keep.start(event("start", 1.5, 2.0))
    play(keep, 2.0, 30.0)
    assert sum(piece.samples.size for piece in keep._pieces) <= 6.2 * RATE
    path = keep.end(event("end", 1.5, 29.0), NOW)
    assert path is not None
    np.testing.assert_array_equal(sf.read(path, dtype="int16")[0], np.arange(500, 5500))


def test_two_events_at_once_have_a_recording_each(folder: Path) -> None:
    keep = recorder(folder)
    play(keep, 0.0, 4.0)
    keep.start(event("start", 2.0, 3.0, number=1))
    play(keep, 4.0, 5.0)
    keep.start(event("start", 4.0, 5.0, number=2))
    play(keep, 5.0, 8.0)
    first, second = keep.end(event("end", 2.0, 7.0, 1), NOW), keep.end(event("end", 4.0, 6.0, 2), NOW)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(sf.read(first, dtype="int16")[0], np.arange(1000, 7500))
    np.testing.assert_array_equal(sf.read(second, dtype="int16")[0], np.arange(3000, 6500))


def test_no_recording_joins_audio_from_both_sides_of_a_gap(folder: Path) -> None:
    keep = recorder(folder)
    play(keep, 0.0, 3.0)
    keep.block(block(5.0, n_lost=2000))
    play(keep, 5.1, 7.0)
    path = record_one(keep, 5.2, 6.0)
    assert path is not None
    np.testing.assert_array_equal(sf.read(path, dtype="int16")[0], np.arange(5000, 6500))


def test_the_oldest_go_when_the_folder_is_full_and_what_is_not_ours_stays(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.flac").write_bytes(b"x" * 10_000)
    keep = recorder(folder)
    play(keep, 0.0, 5.0)
    one = record_one(keep, 1.0, 4.0, number=0)
    assert one is not None
    size_mb = one.stat().st_size / 1e6
    keep = recorder(folder, max_mb=3.5 * size_mb)
    play(keep, 0.0, 5.0)
    paths = []
    for number in range(1, 6):
        path = record_one(keep, 1.0, 4.0, number)
        assert path is not None
        os.utime(path, (time.time() + number, time.time() + number))
        paths.append(path)
    assert sorted(path for path in folder.iterdir() if path.name != "mine.flac") == paths[-3:]
    assert (folder / "mine.flac").exists()


def test_those_that_are_too_old_go(folder: Path) -> None:
    keep = recorder(folder, max_days=2.0)
    play(keep, 0.0, 5.0)
    old = record_one(keep, 1.0, 4.0, number=1)
    assert old is not None
    os.utime(old, (time.time() - 3 * 86400, time.time() - 3 * 86400))
    new = record_one(keep, 1.0, 4.0, number=2)
    assert list(folder.iterdir()) == [new]


def test_a_disk_that_takes_nothing_costs_the_recording_and_not_the_event(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep = recorder(folder)
    folder.rmdir()
    folder.write_text("a file where the folder should be")
    play(keep, 0.0, 5.0)
    assert record_one(keep, 1.0, 4.0) is None
    assert "no recording of this bell" in caplog.text


def test_a_name_holds_no_more_than_a_file_name_may() -> None:
    name = clips.clip_name(event("end", 0.0, 1.0, sound="Tür & Tor's"), NOW)
    assert name == f"20260102T030405Z_Tür-Tor-s_4.2_{1:032x}.flac"


def test_a_folder_that_cannot_be_is_one_sentence_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EarmarkError, match=r"no folder .*file/clips \(Not a directory\): choose another"):
        recorder(tmp_path / "file" / "clips")
