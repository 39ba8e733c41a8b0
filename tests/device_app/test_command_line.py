import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from device_app import __version__
from device_app.__main__ import build_parser, main
from device_app.demo.stream import bundled_clips

DOGS = bundled_clips("enrol")["dog_bark"]
ROOSTERS = bundled_clips("enrol")["rooster"]


def earmark(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "device_app", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def one_sentence(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    folder = tmp_path / "profile"
    assert main(["enrol", "dog", "--from", str(DOGS[0].parent), "--profile", str(folder)]) == 0
    return folder


def test_help_and_version_import_nothing_slow() -> None:
    code = "import sys; from device_app.__main__ import build_parser; build_parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "sklearn", "onnxruntime", "sounddevice", "rich"}.isdisjoint(loaded)
    assert earmark("--version").stdout == f"earmark {__version__}\n"


def test_every_command_explains_itself() -> None:
    text = build_parser().format_help()
    for command in ("devices", "enrol", "listen", "demo", "sounds", "refit", "report"):
        assert command in text
        assert earmark(command, "--help").returncode == 0


def test_a_whole_enrolment_and_a_whole_listening_never_import_torch_nor_training(tmp_path: Path) -> None:
    code = (
        "import sys; from device_app.__main__ import main;"
        f"main(['enrol', 'dog', '--from', {str(DOGS[0].parent)!r}, '--profile', {str(tmp_path)!r}]);"
        f"main(['enrol', 'rooster', '--from', {str(ROOSTERS[0])!r}, '--profile', {str(tmp_path)!r}]);"
        f"main(['listen', '--source', {str(DOGS[0])!r}, '--profile', {str(tmp_path)!r}]);"
        "print('\\n' + ' '.join(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.splitlines()[-1].split())
    assert {"torch", "torchaudio", "train", "export", "onnx"}.isdisjoint(loaded)
    assert {"onnxruntime", "sklearn"} <= loaded


def test_listening_imports_no_scikit_learn(profile: Path) -> None:
    code = (
        "import sys; from device_app.__main__ import main;"
        f"main(['listen', '--source', {str(DOGS[0])!r}, '--profile', {str(profile)!r}]);"
        "print('\\n' + ' '.join(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sklearn" not in result.stdout.splitlines()[-1].split()


def test_a_taught_sound_is_reported_as_json_lines_on_stdout_and_everything_else_on_stderr(
    profile: Path, tmp_path: Path
) -> None:
    quiet = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 1e-4
    bark = sf.read(DOGS[0], dtype="float32")[0]
    sf.write(tmp_path / "day.flac", np.concatenate([quiet, bark, quiet]), 16000)
    result = earmark("listen", "--source", tmp_path / "day.flac", "--profile", profile)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    start, *updates, end = [line for line in lines if line["id"] == lines[0]["id"]]
    assert (start["type"], end["type"]) == ("start", "end")
    assert {line["type"] for line in updates} <= {"update"}
    assert start["sound"] == end["sound"] == "dog"
    assert start["id"] == end["id"]
    assert start["schema"] == 1
    assert 1.0 <= start["start_s"] <= 4.0
    assert end["duration_s"] == pytest.approx(end["end_s"] - end["start_s"], abs=0.002)
    assert "listening for dog" in result.stderr


def test_the_same_recordings_again_are_not_counted_twice(profile: Path) -> None:
    assert main(["enrol", "dog", "--from", str(DOGS[0].parent), "--profile", str(profile)]) == 0
    result = earmark("sounds", "--profile", profile, "--json")
    assert [json.loads(line)["n_recordings"] for line in result.stdout.splitlines()] == [5]


def test_one_recording_cannot_be_two_sounds(profile: Path) -> None:
    message = one_sentence(earmark("enrol", "cat", "--from", DOGS[0], "--profile", profile))
    assert "already taught as 'dog'" in message


def test_an_empty_profile_is_a_sentence_that_says_how_to_teach(tmp_path: Path) -> None:
    message = one_sentence(earmark("listen", "--source", DOGS[0], "--profile", tmp_path / "none"))
    assert "nothing has been taught" in message
    assert "earmark enrol" in message
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("text.wav", b"this is not audio", "not audio that soundfile can read"),
        ("empty.wav", b"", "not audio that soundfile can read"),
        ("missing.wav", None, "no such file"),
    ],
)
def test_an_unreadable_file_is_a_sentence_for_enrolling_and_for_listening(
    profile: Path, tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    before = (profile / "profile.json").read_bytes()
    message = one_sentence(earmark("enrol", "bell", "--from", path, "--profile", profile))
    assert name in message
    assert expected in message
    assert (profile / "profile.json").read_bytes() == before
    listening = earmark("listen", "--source", path, "--profile", profile)
    assert listening.returncode == 1
    assert listening.stdout == ""
    assert "Traceback" not in listening.stderr
    assert name in listening.stderr


@pytest.mark.parametrize(
    ("waveform", "expected"),
    [
        (np.zeros(16000, np.float32), "silent"),
        (np.full(16000, np.nan, np.float32), "not numbers"),
        (np.zeros(0, np.float32), "holds no audio"),
    ],
)
def test_a_recording_that_teaches_nothing_is_a_sentence_and_changes_nothing(
    tmp_path: Path, waveform: np.ndarray, expected: str
) -> None:
    sf.write(tmp_path / "take.wav", waveform, 16000, subtype="FLOAT")
    message = one_sentence(earmark("enrol", "bell", "--from", tmp_path / "take.wav", "--profile", tmp_path / "profile"))
    assert "take.wav" in message
    assert expected in message
    assert not (tmp_path / "profile" / "profile.json").exists()
    assert not (tmp_path / "profile" / "recordings").exists()


def test_a_folder_without_audio_says_what_was_looked_for(tmp_path: Path) -> None:
    message = one_sentence(earmark("enrol", "bell", "--from", tmp_path, "--profile", tmp_path / "profile"))
    assert "no audio files below" in message
    assert "flac" in message


@pytest.mark.parametrize("name", ["", "../up", "-", "-..", "a" * 65, "a/b"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    message = one_sentence(earmark("enrol", f"--profile={tmp_path}", f"--from={DOGS[0]}", "--", name))
    assert "cannot be a sound's name" in message


def test_a_damaged_profile_is_a_sentence(profile: Path) -> None:
    (profile / "profile.json").write_text('{"schema": 1, "sou')
    message = one_sentence(earmark("listen", "--source", DOGS[0], "--profile", profile))
    assert "profile.json is damaged" in message


def test_a_model_that_is_not_one_is_a_sentence(profile: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07not a model")
    message = one_sentence(
        earmark("listen", "--source", DOGS[0], "--profile", profile, "--model", tmp_path / "model.onnx")
    )
    assert "model.onnx is not a complete ONNX model" in message


def test_a_reader_that_leaves_early_ends_the_listening_without_a_word(profile: Path, tmp_path: Path) -> None:
    sf.write(tmp_path / "day.flac", np.concatenate([sf.read(DOGS[0])[0]] * 8), 16000)
    command = f"{sys.executable} -m device_app listen --source {tmp_path}/day.flac --profile {profile} | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["type"] == "start"
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr
