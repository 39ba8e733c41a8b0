import io
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from device_app.capture import Block
from device_app.enrolment.head import Examples
from device_app.live_view.health import Health
from device_app.live_view.nearest import EVERYDAY, Nearest, Neighbour
from device_app.live_view.screen import Picture
from device_app.live_view.spectrogram import Spectrogram, band_levels
from device_app.live_view.view import PlainView
from device_app.live_view.wrong import WrongMarker
from tests.device_app.outputs.conftest import wait_until


def line(number: int, kind: str, sound: str = "bell", duration_s: float = 1.0) -> dict[str, object]:
    return {
        "type": kind,
        "id": f"{number:032x}",
        "time": "2026-01-02T03:04:05.678+00:00",
        "sound": sound,
        "score": 4.25,
        "duration_s": duration_s,
        "level_dbfs": -31.2,
        "runner_up": "dog",
    }


def drawn(picture: Picture, width: int = 90) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(picture.draw(width))
    return capture.get()


@pytest.mark.parametrize("sample_rate", [16000, 48000])
def test_a_tone_is_in_its_band_at_its_level(sample_rate: int) -> None:
    """Bands from 60 to 8000 Hz, equally wide on a log scale; a sine of peak 0.1 has -23 dBFS RMS."""
    t = np.arange(sample_rate // 10) / sample_rate
    levels = band_levels((0.1 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32), sample_rate, 12)
    expected = int(np.log(1000 / 60) / np.log(8000 / 60) * 12)
    assert int(levels.argmax()) == expected
    assert levels[expected] == pytest.approx(-23.0, abs=0.5)
    assert np.delete(levels, expected).max() < -50.0


def test_silence_and_nothing_have_defined_levels() -> None:
    assert (band_levels(np.zeros(1600, np.float32), 16000, 6) == -120.0).all()
    assert (band_levels(np.zeros(0, np.float32), 16000, 6) == -120.0).all()


def test_the_strip_is_as_wide_as_asked_for_and_the_newest_is_at_the_right() -> None:
    strip = Spectrogram(3)
    strip.push(np.zeros(1600, np.float32), 16000)
    strip.push(np.random.default_rng(0).uniform(-1, 1, 1600).astype(np.float32), 16000)
    lines = strip.lines(10)
    assert [text.plain for text in lines] == [" " * 8 + "▀▀"] * 3
    quiet, loud = (span.style for span in lines[0].spans)
    assert quiet != loud


def test_the_nearest_recordings_are_named_once_each_the_nearest_first() -> None:
    axes = np.eye(4, dtype=np.float32)
    examples = [
        Examples("bell", "id-1", np.stack([axes[0], axes[1]])),
        Examples("dog", "id-2", np.stack([(axes[0] + axes[2]) / np.sqrt(2)])),
    ]
    nearest = Nearest(examples, {"id-1": "bell.wav", "id-2": "dog.wav"}, axes[3:])
    found = nearest.to((0.9 * axes[0] + 0.3 * axes[3]).astype(np.float32), 3)
    assert [(entry.sound, entry.recording) for entry in found] == [
        ("bell", "bell.wav"),
        ("dog", "dog.wav"),
        (EVERYDAY, ""),
    ]
    assert [entry.cosine for entry in found] == pytest.approx([0.9, 0.9 / np.sqrt(2), 0.3])


def test_the_picture_shows_evidence_events_neighbours_and_health() -> None:
    picture = Picture(("bell", "dog"), 2.0, "the kitchen", health="memory 99 MB")
    picture.evidence, picture.scores = np.array([1.0, 0.0], np.float32), np.array([1.5, -4.0], np.float32)
    picture.quiet, picture.neighbours = False, [Neighbour("bell", "bell.wav", 0.91)]
    picture.take_line(line(1, "start"))
    picture.take_line(line(1, "update", duration_s=2.0))
    text = drawn(picture)
    assert "listening on the kitchen" in text
    assert "█" * 12 + "·" * 12 in text  # half of what it takes
    assert "1.0 of 2" in text
    assert "+1.5" in text
    assert "0.91" in text
    assert "bell.wav" in text
    assert "2.0 s so far" in text
    assert text.count("score 4.2") == 1  # one line for one event
    assert "memory 99 MB" in text
    picture.take_line(line(1, "end", duration_s=3.0))
    assert "3.0 s so far" not in drawn(picture)
    assert "3.0 s" in drawn(picture)
    assert picture.lasting == set()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_picture_fits_any_terminal(width: int) -> None:
    picture = Picture(tuple(f"sound {i}" for i in range(20)), 2.0, "x" * 100)
    picture.spectrogram.push(np.ones(1600, np.float32), 16000)
    picture.evidence = np.arange(20, dtype=np.float32)
    for number in range(9):
        picture.take_line(line(number, "end"))
    rows = drawn(picture, width).splitlines()
    assert max(map(len, rows)) <= width
    assert "sound 19" in drawn(picture, 200)
    assert "sound 3 " not in drawn(picture, 200)  # of many sounds only those with the most evidence


def test_where_there_is_no_terminal_each_event_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()
    for kind in ("start", "update", "end"):
        view.line(line(1, kind))
    view.block(Block(np.zeros(10, np.float32), 16000, 0, 0, 0.0))
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["start", "end"]
    assert "bell  score 4.2" in rows[1]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="this system does not tell")
def test_health_tells_memory_at_once_and_load_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_app.live_view.health._PERIOD_S", 0.2)
    health = Health()
    assert "memory" in health.text([os.getpid()])
    until = time.monotonic() + 0.5
    while time.monotonic() < until:  # use the processor
        pass
    assert "% of a core" in health.text([os.getpid()])


@pytest.mark.parametrize(
    ("status", "learned", "expected"),
    [
        (0, True, "first. -m device_app wrong abc --profile=/p in /h"),
        (1, False, "-m device_app wrong abc --profile=/p in /h"),
    ],
)
def test_a_correction_runs_beside_the_listening_and_says_how_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, learned: bool, expected: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\necho first\necho "$@ in $EARMARK_HISTORY"\nexit {status}\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    marker = WrongMarker(Path("/p"), None, Path("/h"))
    assert marker.mark(None).startswith("nothing was heard yet")
    assert marker.finished() is None
    assert marker.mark("abc") == "learning that this was wrong ..."
    outcome: list[tuple[bool, str]] = []
    wait_until(lambda: bool(outcome.extend([done] if (done := marker.finished()) else []) or outcome), "outcome")
    assert outcome == [(learned, expected)]
    assert marker.finished() is None
    marker.close()


def test_all_of_a_long_message_is_shown_in_a_narrow_terminal() -> None:
    picture = Picture(("dog",), 2.0, "the kitchen", message="word " * 30 + "`earmark undo` takes it back")
    assert picture.message in " ".join(drawn(picture, 80).split())


def test_what_is_not_kept_cannot_be_corrected() -> None:
    marker = WrongMarker(Path("/p"), None, None)
    assert "--history" in marker.mark("abc")
    marker.close()
