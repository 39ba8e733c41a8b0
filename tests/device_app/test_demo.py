import json
import subprocess
import sys

import pytest

from device_app.demo.command import bundled_stream
from device_app.demo.stream import bundled_clips


@pytest.fixture(scope="module")
def outcome() -> dict[str, object]:
    command = [sys.executable, "-m", "device_app", "demo", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    report = json.loads(result.stdout)
    assert isinstance(report, dict)
    return report


def test_the_demo_hears_what_the_readme_says_it_hears(outcome: dict[str, object]) -> None:
    """The shipped model's own figures, with a sound or two of room for another processor's rounding."""
    assert isinstance(outcome["heard_share"], float)
    assert isinstance(outcome["false_per_hour"], float)
    assert outcome["heard_share"] >= 0.5
    assert outcome["false_per_hour"] < 6.0
    assert outcome["stream_s"] == pytest.approx(708.0, abs=30.0)


def test_the_demo_counts_every_taught_recording_once(outcome: dict[str, object]) -> None:
    sounds = outcome["sounds"]
    assert isinstance(sounds, dict)
    for name, paths in bundled_clips("stream").items():
        assert sounds[name]["heard"] + sounds[name]["missed"] == len(paths)


def test_nothing_that_is_heard_in_the_demo_was_enrolled() -> None:
    """Clips are named for the recording they were cut from; no recording is on both sides."""
    enrolled = {path.name.split("-")[1] for paths in bundled_clips("enrol").values() for path in paths}
    heard = {entry.clip.split("-")[1] for entry in bundled_stream(0).occurrences}
    assert len(enrolled) == 20
    assert enrolled.isdisjoint(heard)


def test_a_stream_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first, again, other = bundled_stream(3), bundled_stream(3), bundled_stream(4)
    assert first.occurrences == again.occurrences
    assert (first.waveform == again.waveform).all()
    assert first.occurrences != other.occurrences
