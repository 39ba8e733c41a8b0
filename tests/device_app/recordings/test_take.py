import io
import os
import re
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest
import soundfile

from device_app.arrays import FloatArray
from device_app.capture import FileSource
from device_app.errors import AudioError
from device_app.recordings.take import Take, Takes, level_db, record_takes
from device_app.recordings.take_findings import Finding
from device_app.recordings.take_keys import open_keys
from device_app.recordings.take_screen import meter

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


class Refusing(Takes):
    """Refuses takes whose peak is below a level."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.peaks: list[float] = []
        self._least = least

    def judge(self, take: Take) -> list[Finding]:
        self.peaks.append(float(np.abs(take.waveform).max()))
        return [Finding("unusable", "it is too quiet: go nearer")] if self.peaks[-1] < self._least else []


def record(source: FileSource, takes: Takes | None = None, **options: Any) -> tuple[list[Take], str]:
    out = io.StringIO()
    takes = takes or Takes()
    record_takes(source, takes, out=out, **options)
    return takes.kept, out.getvalue()


def test_a_take_holds_the_sound_and_a_little_of_what_surrounds_it(session: FileSource) -> None:
    (take,), out = record(session, n_takes=1, countdown_s=1)
    # 0.3 s before the sound, 0.5 s of it, 0.3 s after it; to the 0.02 s of a frame.
    assert take.waveform.size / RATE == pytest.approx(1.1, abs=0.05)
    assert (take.sample_rate, take.heard, take.n_lost) == (RATE, True, 0)
    loud = np.flatnonzero(np.abs(take.waveform) > 0.05)
    assert loud[0] / RATE == pytest.approx(0.3, abs=0.03)
    assert (loud[-1] - loud[0]) / RATE == pytest.approx(0.5, abs=0.01)
    assert take.device == str(session.path)
    # What was heard in the countdown, less the moments of it that belong to the take.
    assert take.background.size / RATE == pytest.approx(0.7, abs=0.06)
    assert np.abs(take.background).max() < 0.01
    lines = out.splitlines()
    assert lines[:2] == ["take 1 of 1", "1"]
    assert lines[3] == "now"
    assert lines[-2].startswith("level  -20.0 dB".replace("  ", " "))
    assert re.fullmatch(r"kept 1\.[01] s", lines[-1])


def test_the_time_of_a_take_is_that_of_its_first_sample_after_trimming(session: FileSource) -> None:
    (first, second), _ = record(session, n_takes=2, countdown_s=1)
    # The sounds of the session are 2.25 s apart, and each take begins 0.3 s before its sound.
    assert second.time - first.time == pytest.approx(2.25, abs=0.05)


def test_a_take_in_which_nothing_is_heard_lasts_its_full_length(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", room(10.0), RATE, subtype="FLOAT")
    (take,), _ = record(FileSource(tmp_path / "quiet.wav"), n_takes=1, take_s=2.0)
    assert not take.heard
    assert take.waveform.size / RATE == pytest.approx(2.3, abs=0.06)


def test_a_take_of_the_room_lasts_its_full_length_whatever_is_heard(session: FileSource) -> None:
    (take,), _ = record(session, n_takes=1, take_s=3.0, countdown_s=1, whole=True)
    assert take.heard
    assert take.waveform.size / RATE == pytest.approx(3.3, abs=0.06)


def test_a_take_that_will_not_do_is_done_again(session: FileSource) -> None:
    takes = Refusing(least=0.15)
    kept, out = record(session, takes, n_takes=2, countdown_s=1)
    np.testing.assert_allclose(takes.peaks, [0.1, 0.2, 0.3], atol=0.01)
    assert [float(np.abs(take.waveform).max()) for take in kept] == takes.peaks[1:]
    assert "again: it is too quiet: go nearer" in out.splitlines()
    assert out.count("take 1 of 2") == 2


def test_what_is_amiss_with_a_take_that_is_kept_is_said(session: FileSource) -> None:
    class Humming(Takes):
        def judge(self, take: Take) -> list[Finding]:
            return [Finding("hum", "mains hum is in it")]

    kept, out = record(session, Humming(), n_takes=1, countdown_s=1)
    assert len(kept) == 1
    assert out.splitlines()[-1] == "  but mains hum is in it"


def test_a_take_is_not_repeated_without_end_and_finished_ones_are_kept(session: FileSource) -> None:
    takes = Takes()
    takes.judge = lambda take: [Finding("unusable", "silent")] if takes.kept else []  # type: ignore[method-assign]
    with pytest.raises(AudioError, match="take 2 was refused 2 times, at last because: silent"):
        record(session, takes, n_takes=5, countdown_s=1, n_repeats=1)
    assert len(takes.kept) == 1


def test_ctrl_c_leaves_the_finished_takes(session: FileSource) -> None:
    class Interrupted(Takes):
        def judge(self, take: Take) -> list[Finding]:
            if len(self.kept) == 2:
                raise KeyboardInterrupt
            return []

    takes = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        record(session, takes, countdown_s=1)
    assert len(takes.kept) == 2


def test_a_file_that_is_too_short_for_all_takes_is_an_error_that_keeps_the_finished_ones(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.concatenate([room(1.2), tone(0.5), room(1.5)]), RATE, subtype="FLOAT")
    takes = Takes()
    with pytest.raises(AudioError, match="ended before all takes were recorded"):
        record(FileSource(tmp_path / "short.wav"), takes, n_takes=3, countdown_s=1)
    assert len(takes.kept) == 1


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """Both ends of a terminal: where a person types, and where a program reads."""
    person, program = os.openpty()
    with os.fdopen(program, "r") as keyboard:
        yield person, keyboard
    os.close(person)


def test_r_in_the_countdown_means_the_last_take_again(session: FileSource, terminal: tuple[int, TextIO]) -> None:
    person, keyboard = terminal

    class Regretting(Takes):
        def keep(self, take: Take) -> None:
            super().keep(take)
            if float(np.abs(take.waveform).max()) < 0.25:  # the first two
                os.write(person, b"r")

    with open_keys(keyboard) as keys:
        kept, out = record(session, Regretting(), n_takes=2, countdown_s=1, keys=keys)
    # The first is regretted for the second, that one for the third; then the fourth, and the last countdown passes.
    np.testing.assert_allclose([np.abs(take.waveform).max() for take in kept], [0.3, 0.4], atol=0.01)
    assert out.count("take 1 of 2 again") == 2
    assert "done, unless you press r" in out.splitlines()


def test_the_very_last_take_can_be_taken_again(session: FileSource, terminal: tuple[int, TextIO]) -> None:
    person, keyboard = terminal

    class Regretting(Takes):
        def keep(self, take: Take) -> None:
            super().keep(take)
            if float(np.abs(take.waveform).max()) < 0.15:
                os.write(person, b"r")

    with open_keys(keyboard) as keys:
        kept, _ = record(session, Regretting(), n_takes=1, countdown_s=1, keys=keys)
    np.testing.assert_allclose([np.abs(take.waveform).max() for take in kept], [0.2], atol=0.01)


def test_the_terminal_is_as_it_was_after_the_keys_were_read(terminal: tuple[int, TextIO]) -> None:
    person, keyboard = terminal
    before = termios.tcgetattr(keyboard)
    with open_keys(keyboard) as keys:
        assert keys is not None
        assert keys.pressed() == ""
        os.write(person, b"xr")
        assert keys.pressed() == "xr"
        assert not termios.tcgetattr(keyboard)[3] & termios.ICANON
    assert termios.tcgetattr(keyboard) == before
    with open_keys(io.StringIO()) as keys:
        assert keys is None


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
    takes = Takes()
    record_takes(session, takes, n_takes=2, countdown_s=1, out=out)
    assert len(takes.kept) == 2
    assert "take 2 of 2" in out.getvalue()
    assert "█" in out.getvalue()
