import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device_app.arrays import FloatArray
from device_app.capture import FileSource
from device_app.errors import AudioError
from device_app.take import Take, level_db, record_takes
from device_app.take_screen import meter

RATE = 16000


def room(seconds: float) -> FloatArray:
    return np.random.default_rng(5).normal(0, 1e-3, round(RATE * seconds)).astype(np.float32)


def tone(seconds: float, level: float = 0.3) -> FloatArray:
    return (level * np.sin(2 * np.pi * 1000 * np.arange(round(RATE * seconds)) / RATE)).astype(np.float32)


@pytest.fixture
def session(tmp_path: Path) -> FileSource:
    """A person's session as a file: 1 s of background, a sound of 0.5 s, then room; and so on, five times."""
    parts = []
    for level in (0.1, 0.2, 0.3, 0.4, 0.5):
        parts += [room(1.2), tone(0.5, level), room(0.55)]
    parts.append(room(3.0))
    soundfile.write(tmp_path / "session.wav", np.concatenate(parts), RATE, subtype="FLOAT")
    return FileSource(tmp_path / "session.wav")


def test_a_take_holds_the_sound_and_ends_after_it(session: FileSource) -> None:
    out = io.StringIO()
    (take,) = record_takes(session, n_takes=1, countdown_s=1, out=out)
    # 0.3 s of the countdown, 0.2 s until the sound, 0.5 s of it, 0.6 s after it; in blocks of 0.05 s.
    assert take.waveform.size / RATE == pytest.approx(1.6, abs=0.11)
    assert (take.sample_rate, take.heard, take.n_lost) == (RATE, True, 0)
    loud = np.flatnonzero(np.abs(take.waveform) > 0.05)
    assert loud[0] / RATE == pytest.approx(0.5, abs=0.01)
    assert (loud[-1] - loud[0]) / RATE == pytest.approx(0.5, abs=0.01)
    assert take.device == str(session.path)
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["take 1 of 1", "1"]
    assert lines[3] == "now"
    assert lines[-2].startswith("level  -20.0 dB".replace("  ", " "))
    assert re.fullmatch(r"kept 1\.[56] s", lines[-1])


def test_a_take_in_which_nothing_is_heard_lasts_its_full_length(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", room(10.0), RATE, subtype="FLOAT")
    (take,) = record_takes(FileSource(tmp_path / "quiet.wav"), n_takes=1, take_s=2.0, out=io.StringIO())
    assert not take.heard
    assert take.waveform.size / RATE == pytest.approx(2.3, abs=0.06)


def test_a_take_that_will_not_do_is_done_again(session: FileSource) -> None:
    judged: list[float] = []

    def judge(take: Take) -> str | None:
        judged.append(float(np.abs(take.waveform).max()))
        return "it is too quiet: go nearer" if judged[-1] < 0.15 else None

    out = io.StringIO()
    takes = record_takes(session, n_takes=2, countdown_s=1, judge=judge, out=out)
    np.testing.assert_allclose(judged, [0.1, 0.2, 0.3], atol=0.01)
    assert [float(np.abs(take.waveform).max()) for take in takes] == judged[1:]
    assert "again: it is too quiet: go nearer" in out.getvalue().splitlines()
    assert out.getvalue().count("take 1 of 2") == 2


def test_a_take_is_not_repeated_without_end_and_finished_ones_are_kept(session: FileSource) -> None:
    kept: list[Take] = []
    with pytest.raises(AudioError, match="take 2 was refused 2 times, at last because: clipped"):
        record_takes(
            session,
            kept,
            n_takes=5,
            countdown_s=1,
            n_repeats=1,
            judge=lambda take: "clipped" if kept else None,
            out=io.StringIO(),
        )
    assert len(kept) == 1


def test_ctrl_c_leaves_the_finished_takes(session: FileSource) -> None:
    kept: list[Take] = []

    def judge(take: Take) -> str | None:
        if len(kept) == 2:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        record_takes(session, kept, countdown_s=1, judge=judge, out=io.StringIO())
    assert len(kept) == 2


def test_a_file_that_is_too_short_for_all_takes_is_an_error_that_keeps_the_finished_ones(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.concatenate([room(1.2), tone(0.5), room(1.5)]), RATE, subtype="FLOAT")
    kept: list[Take] = []
    with pytest.raises(AudioError, match="ended before all takes were recorded"):
        record_takes(FileSource(tmp_path / "short.wav"), kept, n_takes=3, countdown_s=1, out=io.StringIO())
    assert len(kept) == 1


def test_levels_are_decibels_below_full_scale() -> None:
    assert level_db(np.ones(100, np.float32)) == pytest.approx(0.0)
    assert level_db(tone(1.0, 1.0)) == pytest.approx(-3.01, abs=0.01)
    assert level_db(np.zeros(100, np.float32)) == -np.inf
    assert level_db(np.zeros(0, np.float32)) == -np.inf


def test_the_meter_is_empty_at_minus_60_db_and_full_at_full_scale() -> None:
    assert meter(0.001).count("█") == 0
    assert meter(10 ** (-30 / 20)).count("█") == 20
    assert meter(1.0).startswith("█" * 40)
    assert meter(1.0).endswith("too loud")
    assert "silent" in meter(0.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_meter_that_moves(session: FileSource) -> None:
    out = Terminal()
    takes = record_takes(session, n_takes=2, countdown_s=1, out=out)
    assert len(takes) == 2
    assert "take 2 of 2" in out.getvalue()
    assert "█" in out.getvalue()
