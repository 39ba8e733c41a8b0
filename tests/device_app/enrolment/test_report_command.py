import json
from pathlib import Path

import pytest

from device_app.__main__ import main
from device_app.demo.stream import bundled_clips
from device_app.enrolment.profile import Profile

CLIPS = bundled_clips("enrol")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "profile"
    dogs, roosters = str(CLIPS["dog_bark"][0].parent), str(CLIPS["rooster"][0])
    assert main(["enrol", "dog", "--from", dogs, "--profile", str(folder), "--pitch", "varies"]) == 0
    strict = ["--false-alarms-per-day", "0.5", "--json"]
    assert main(["enrol", "rooster", "--from", roosters, "--profile", str(folder), *strict]) == 0
    return folder


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_report_says_what_each_sound_is_worth_and_what_to_record_next(
    profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dog, rooster, advice = lines(capsys, "report", "--profile", str(profile))
    assert (dog["sound"], dog["n_recordings"], dog["n_judged"]) == ("dog", 5, 5)
    assert (rooster["n_recordings"], rooster["n_judged"]) == (1, 0)
    assert dog["false_alarms_per_hour"] == pytest.approx(72 / 24)
    assert rooster["false_alarms_per_hour"] == pytest.approx(0.5 / 24)
    assert str(advice["next_recording"]).startswith("a second recording of 'rooster'")


def test_the_table_is_for_people(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--profile", str(profile)]) == 0
    text = capsys.readouterr().out
    assert "of 5" in text
    assert "What would help most: a second recording of 'rooster'" in " ".join(text.split())


def test_what_was_set_by_hand_stays_with_the_sound_and_is_added_to(
    profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Profile(profile).settings
    assert settings["dog"].pitch == "varies"
    assert settings["rooster"].false_alarms_per_day == 0.5
    arguments = ("--from", str(CLIPS["dog_bark"][0]), "--profile", str(profile))
    dog, *_ = lines(capsys, "enrol", "dog", *arguments, "--false-alarms-per-day", "24")
    weights: dict[str, float] = dog["head_weights"]  # type: ignore[assignment]
    assert weights["invariant"] == max(weights.values()) > 0.25
    assert dog["false_alarms_per_hour"] == pytest.approx(1.0)
    now = Profile(profile).settings["dog"]
    assert (now.pitch, now.false_alarms_per_day) == ("varies", 24)


def test_a_profile_without_sounds_has_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--profile", str(tmp_path)]) == 1
    assert "nothing has been taught" in capsys.readouterr().err
