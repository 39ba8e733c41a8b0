import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from device_app.__main__ import main
from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.enrolment.profile import Profile
from device_app.errors import AudioError
from device_app.recordings.long_recording import Moment, cut_out, find_moments
from device_app.recordings.proposals import Proposal, pick
from tests.device_app.taught_profile import CLOCKS, DOGS, ROOSTERS

RATE = 8000


def noise(seconds: float, level: float, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(0, level, round(RATE * seconds)).astype(np.float32)


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Four minutes, the second half in a louder room, with bursts of noise at known times."""
    waveform = np.concatenate([noise(120, 1e-3), noise(120, 2.5e-3, seed=1)])
    for at_s, lasts_s, level in ((12.3, 0.5, 0.1), (45.1, 1.0, 0.3), (45.1 + 1.2, 0.4, 0.3), (200.0, 0.5, 0.2)):
        start = round(at_s * RATE)
        waveform[start : start + round(lasts_s * RATE)] += noise(lasts_s, level, seed=2)
    sf.write(tmp_path / "day.flac", waveform, RATE)
    return tmp_path / "day.flac"


def test_what_stands_out_is_found_with_its_time_its_length_and_its_level(day: Path) -> None:
    moments = find_moments(day)
    assert [moment.start_s for moment in moments] == pytest.approx([12.3, 45.1, 200.0], abs=0.03)
    # A pause of 0.2 s belongs to the sound.
    assert [moment.end_s - moment.start_s for moment in moments] == pytest.approx([0.5, 1.6, 0.5], abs=0.05)
    assert moments[0].level_dbfs == pytest.approx(-20.0, abs=1.0)
    # 10 % of the frames of noise are a little quieter than its level.
    assert [moment.above_db for moment in moments] == pytest.approx([40.5, 50.0, 38.5], abs=1.5)


def test_a_moment_is_cut_out_with_its_surroundings_wherever_in_the_sound_it_was_named(day: Path) -> None:
    for at_s in (12.3, 12.5, 11.5, 13.7):
        cut = cut_out(day, at_s)
        assert cut.sample_rate == RATE
        assert cut.origin == f"{day} at 12.3 s"
        assert len(cut.waveform) / RATE == pytest.approx(0.3 + 0.5 + 0.3, abs=0.05)
        loud = np.flatnonzero(np.abs(cut.waveform) > 0.05)
        assert loud[0] / RATE == pytest.approx(0.3, abs=0.03)


def test_a_moment_at_the_very_start_or_end_is_cut_at_the_recordings_border(tmp_path: Path) -> None:
    sf.write(
        tmp_path / "a.wav", np.concatenate([noise(0.5, 0.3), noise(5, 1e-3), noise(0.5, 0.3)]), RATE, subtype="FLOAT"
    )
    assert [len(cut_out(tmp_path / "a.wav", at_s).waveform) / RATE for at_s in (0.1, 5.9)] == pytest.approx(
        [0.8, 0.8], abs=0.03
    )


def test_a_sound_of_minutes_is_shown_by_its_first_ten_seconds(tmp_path: Path) -> None:
    parts = [noise(60, 1e-3), noise(14, 0.3), noise(60, 1e-3)]
    sf.write(tmp_path / "a.wav", np.concatenate(parts), RATE, subtype="FLOAT")
    assert len(cut_out(tmp_path / "a.wav", 70.0).waveform) / RATE == pytest.approx(10.6, abs=0.1)


@pytest.mark.parametrize(("at_s", "expected"), [(100.0, "nothing stands out"), (241.0, "is 240.0 s long")])
def test_a_moment_without_a_sound_is_an_error(day: Path, at_s: float, expected: str) -> None:
    with pytest.raises(AudioError, match=expected):
        cut_out(day, at_s)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.5])
def test_a_recording_that_is_empty_or_silent_has_no_moments(tmp_path: Path, seconds: float) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(round(seconds * RATE), np.float32), RATE)
    assert find_moments(tmp_path / "a.wav") == []


def test_recordings_at_named_moments_teach_a_sound(profile: Profile, tmp_path: Path) -> None:
    barks = [read_audio(path, 16000) for path in DOGS[3:5]]
    quiet = np.random.default_rng(0).normal(0, 1e-4, 48000).astype(np.float32)
    sf.write(tmp_path / "day.flac", np.concatenate([quiet, barks[0], quiet, barks[1], quiet]), 16000)
    second = 6.0 + len(barks[0]) / 16000
    arguments = ["--from", str(tmp_path / "day.flac"), "--at", f"3.5,{second + 0.5}", f"--profile={profile.path}"]
    assert main(["enrol", "dog", *arguments]) == 0
    origins = [entry.origin for entry in Profile(profile.path).sounds["dog"]]
    assert len(origins) == 5
    assert all("day.flac at" in origin for origin in origins[3:])


def test_a_long_file_without_moments_says_how_to_name_them(
    profile: Profile, day: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["enrol", "dog", "--from", str(day), f"--profile={profile.path}"]) == 1
    err = capsys.readouterr().err
    assert "240 s long" in err
    assert "--at" in err
    assert "--propose" in err


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sounds, the louder one twice."""
    quiet = np.random.default_rng(0).normal(0, 1e-4, 48000).astype(np.float32)
    rooster, tick = (read_audio(path, 16000)[:24000] for path in (ROOSTERS[0], CLOCKS[0]))
    rooster, tick = 0.5 * rooster / np.abs(rooster).max(), 0.05 * tick / np.abs(tick).max()
    path = tmp_path_factory.mktemp("mixed") / "mixed.flac"
    sf.write(path, np.concatenate([quiet, rooster, quiet, tick, quiet, 0.9 * rooster, quiet]), 16000)
    return path


def test_proposals_are_json_lines_where_nobody_can_be_asked_and_nothing_is_taught(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["enrol", "rooster", "--from", str(mixed), "--propose", f"--profile={tmp_path}/p"]) == 0
    first, *others = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert 3.0 < first["at_s"] < 4.5
    assert any(at_s == pytest.approx(first["at_s"] + 9.0, abs=0.1) for at_s in first["alike_s"])
    assert any(7.4 < line["at_s"] < 9.0 for line in others)
    assert not (tmp_path / "p").exists()


def test_in_a_terminal_the_person_picks(mixed: Path, tmp_path: Path) -> None:
    person, program = pty.openpty()
    command = [sys.executable, "-m", "device_app", "enrol", "rooster", "--from", str(mixed), "--propose"]
    process = subprocess.Popen(
        [*command, f"--profile={tmp_path}/p"], stdin=program, stdout=program, stderr=subprocess.PIPE, text=True
    )
    os.close(program)
    os.write(person, b"1+\n")
    _, err = process.communicate(timeout=120)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that its other end is closed
        while chunk := os.read(person, 4096):
            shown += chunk
    os.close(person)
    assert process.returncode == 0, err
    assert b"above background" in shown
    assert "Which are 'rooster'?" in err  # where Python's input() asks
    assert len(Profile(tmp_path / "p").sounds["rooster"]) >= 2


def test_an_answer_is_asked_for_until_it_is_one() -> None:
    proposals = [Proposal(Moment(float(i), i + 0.5, -20.0, 30.0), (i + 10.0, i + 20.0)) for i in range(3)]
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return ["dog", "4", "1, 3+"][len(asked) - 1]

    assert pick("dog", proposals, ask) == [0.0, 2.0, 12.0, 22.0]
    assert len(asked) == 3
    assert "from 1 to 3" in asked[1]
    assert pick("dog", proposals, lambda question: "") == []


@pytest.mark.parametrize("moments", ["abc", "-3", "1,,2", "nan"])
def test_moments_that_are_none_are_refused_with_an_example(moments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["enrol", "dog", "--from", "day.flac", f"--at={moments}"])
    assert f"{moments} is no list of seconds like 12.3,45.1" in capsys.readouterr().err
