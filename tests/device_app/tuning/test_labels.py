from pathlib import Path

import pytest

from device_app.errors import AudioError
from device_app.tuning.labels import Label, read_labels

BELL, DOG = Label("bell", 1.5, 2.25), Label("dog", 10.0, 12.0)


def write(folder: Path, text: str) -> Path:
    path = folder / "labels.txt"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "1.500000\t2.250000\tbell\n10.000000\t12.000000\tdog\n",
        "1.5\t2.25\tbell\n\\\t100.0\t8000.0\n10\t12\tdog\n",  # Audacity with spectral selections
        "\ufeff10\t12\tdog\r\n1.5\t2.25\tbell\r\n",
        (  # Raven: an annotation is there once for the waveform and once for the spectrogram
            "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation\n"
            "1\tWaveform 1\t1\t1.5\t2.25\t0\t8000\tbell\n1\tSpectrogram 1\t1\t1.5\t2.25\t0\t8000\tbell\n"
            "2\tSpectrogram 1\t1\t10.0\t12.0\t0\t8000\tdog\n"
        ),
        "start,end,label\n1.5,2.25,bell\n10,12,dog\n",
        "Sound;Start;End\nbell;1.5;2.25\ndog;10;12\n",
    ],
    ids=["audacity", "audacity-frequencies", "windows", "raven", "csv", "semicolons"],
)
def test_labels_are_the_same_whoever_wrote_them(tmp_path: Path, text: str) -> None:
    assert read_labels(write(tmp_path, text)) == [BELL, DOG]


def test_a_point_label_has_no_length(tmp_path: Path) -> None:
    assert read_labels(write(tmp_path, "3.0\t3.0\tclick\n")) == [Label("click", 3.0, 3.0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "holds no labels"),
        ("1.0\t2.0\n", "line 1 of .* is not start, end and label"),
        ("1.0\tx\tbell\n", "line 1 of .* is no number of seconds"),
        ("2.0\t1.0\tbell\n", "line 1 of .* a start before its end"),
        ("1.0\t2.0\t \n", "line 1 of .* needs a name"),
        ("Begin Time (s)\tEnd Time (s)\n1\t2\n", "no column of a label among begin time"),
        ("start,end,label\n1,2\n", "line 2 of .* needs a name"),
    ],
)
def test_what_is_no_label_is_a_sentence_that_names_the_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(AudioError, match=expected):
        read_labels(write(tmp_path, text))


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="cannot read the labels"):
        read_labels(tmp_path / "none.txt")
