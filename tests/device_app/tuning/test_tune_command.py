import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from device_app.__main__ import main
from device_app.demo.stream import bundled_clips
from device_app.enrolment.profile import Profile

DOGS = bundled_clips("enrol")["dog_bark"]
OTHERS = bundled_clips("stream")["dog_bark"][:3]
BETWEEN = bundled_clips("untaught")["helicopter"][:3]


def earmark(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device_app", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught") / "profile"
    assert main(["enrol", "dog", "--from", str(DOGS[0].parent), "--profile", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three dogs between three helicopters, and Audacity's labels of it."""
    folder = tmp_path_factory.mktemp("day")
    parts, labels, position = [], "", 0.0
    for dog, other in zip(OTHERS, BETWEEN, strict=True):
        for path, name in ((other, "helicopter"), (dog, "dog")):
            waveform = sf.read(path, dtype="float32")[0]
            labels += f"{position:.3f}\t{position + len(waveform) / 16000:.3f}\t{name}\n"
            position += len(waveform) / 16000
            parts.append(waveform)
    sf.write(folder / "day.flac", np.concatenate(parts), 16000)
    (folder / "labels.txt").write_text(labels)
    return folder / "day.flac", folder / "labels.txt"


def test_what_tuning_says_would_fire_is_what_listening_then_hears(
    profile: Path, day: tuple[Path, Path], tmp_path: Path
) -> None:
    chart = tmp_path / "det.svg"
    result = earmark(
        "tune", day[0], "--truth", day[1], "--profile", profile, "--chart", chart, "--json", "--write", "--budget", 500
    )
    assert result.returncode == 0, result.stderr
    tuned = json.loads(result.stdout)
    assert (tuned["sound"], tuned["n_labelled"]) == ("dog", 3)
    assert "labels of what is not taught are passed over: helicopter" in result.stderr
    assert chart.read_text().count("<polyline") == 1
    chosen = tuned["chosen"]
    assert Profile(profile).settings["dog"].sensitivity == chosen["sensitivity"]
    assert chosen["fired_s"]
    listening = earmark("listen", "--source", day[0], "--profile", profile)
    starts = [line for line in map(json.loads, listening.stdout.splitlines()) if line["type"] == "start"]
    assert [line["fired_s"] for line in starts] == chosen["fired_s"]


def test_the_tables_say_what_is_false_and_what_an_hour_cannot_prove(profile: Path, day: tuple[Path, Path]) -> None:
    before = (profile / "profile.json").read_bytes()
    result = earmark("tune", day[0], "--truth", day[1], "--profile", profile, "--budget", "1")
    assert result.returncode == 0, result.stderr
    assert "3 labelled" in result.stdout
    assert "would not prove 1 a day: that takes 72 h" in result.stdout
    assert "these would have fired" in result.stdout
    assert "Nothing was changed" in result.stderr
    assert (profile / "profile.json").read_bytes() == before


def test_a_chart_without_labels_is_refused_before_the_long_listening(profile: Path, day: tuple[Path, Path]) -> None:
    result = earmark("tune", day[0], "--profile", profile, "--chart", "det.svg")
    assert result.returncode == 1
    assert "name labels with --truth" in result.stderr
    assert "times real time" not in result.stderr
