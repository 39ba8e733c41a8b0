from pathlib import Path

import numpy as np
import pytest
import soundfile

from train.__main__ import main
from train.corpus.speeds import SPEEDS, copy_at_speeds

RATE = 16_000


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    folder = tmp_path / "speech"
    (folder / "someone").mkdir(parents=True)
    time = np.arange(RATE) / RATE
    soundfile.write(folder / "someone" / "hum.flac", 0.5 * np.sin(2 * np.pi * 440 * time), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    return folder


def test_a_copy_is_as_much_shorter_and_higher_as_its_name_says(speech: Path, tmp_path: Path) -> None:
    assert copy_at_speeds([speech], tmp_path / "out", RATE, progress=False) == len(SPEEDS)
    copies = sorted((tmp_path / "out" / "speech" / "someone").glob("hum-*.flac"))
    assert len(copies) == len(SPEEDS)
    for copy, (low, high) in zip(copies, SPEEDS, strict=True):
        speed = float(copy.stem.split("-")[1])
        assert low <= speed <= high
        samples, rate = soundfile.read(copy)
        assert rate == RATE
        assert len(samples) == pytest.approx(RATE / speed, abs=2)
        peak = np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)
        assert peak == pytest.approx(440 * speed, abs=1.5)


def test_a_second_run_makes_nothing_anew_and_completes_what_is_missing(speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    copy_at_speeds([speech], out, RATE, progress=False)
    kept, lost = sorted(out.rglob("*.flac"))
    content, written = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    copy_at_speeds([speech], out, RATE, progress=False)
    assert lost.read_bytes() == content
    assert kept.stat().st_mtime_ns == written


def test_a_missing_folder_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speeds", "--audio", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    assert "is not a folder: pass one that holds audio files" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
