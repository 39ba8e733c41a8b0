"""Files of a profile that a disk, a person or another program damaged: it heals, or a sentence says what to do."""

import io
import json
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from device_app.__main__ import main
from device_app.enrolment.profile import Profile
from device_app.enrolment.sound_changes import remove_sounds
from device_app.model.embedder import Embedder, load_embedder
from device_app.room.room import read_room
from tests.device_app.enrolment import survival_scenes as scenes
from tests.device_app.small_profile import RATE, burst, bursts
from tests.device_app.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and a profile with a room and a correction."""
    folder = tmp_path_factory.mktemp("stage")
    embedder = load_embedder(write_tiny_model(folder / "tiny.onnx"))
    profile = Profile(folder / "profile")
    with profile.lock():
        profile.add_groups({"dog": bursts(0, 3), "bell": bursts(4, 2)}, embedder)
    for scene in (scenes.hear_room, scenes.correct):
        assert scene(str(profile.path), f"{folder}/tiny.onnx") == 0
    sf.write(folder / "day.wav", np.concatenate([burst(seed) for seed in range(6)]), RATE)
    return folder


@pytest.fixture
def embedder(stage: Path) -> Embedder:
    return load_embedder(stage / "tiny.onnx")


@pytest.fixture
def profile(stage: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stage / "profile", tmp_path / "profile"))


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]


def encrypted(content: bytes, _: int) -> bytes:
    at = content.rfind(b"PK\1\2") + 8
    return content[:at] + b"\1" + content[at + 1 :]


def deflated(content: bytes, at: int) -> bytes:
    """Compressed, unlike what is written here, and with a byte of it flipped."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    packed = buffer.getvalue()
    return flipped(packed, at % len(packed))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("how", [flipped, encrypted, deflated])
@pytest.mark.parametrize("kind", ["head.npz", "embeddings/*.npz", "room/*.npz", "events/*.npz"])
def test_damaged_arrays_are_made_anew_or_left_out(
    kind: str, how: Callable[[bytes, int], bytes], profile: Path, embedder: Embedder
) -> None:
    path = next(profile.glob(kind))
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(how(whole, at))
        assert Profile(profile).head(embedder).sounds == ("bell", "dog")
        Profile(profile).fit(embedder)
        read_room(profile)


def set_in_index(profile: Path, *keys: str | int, to: Any) -> None:
    raw = inner = json.loads((profile / "profile.json").read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    (profile / "profile.json").write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (("recordings", 0, "id"), "../../elsewhere"),
        (("recordings", 0, "id"), 7),
        (("recordings", 0, "recorded"), None),
        (("settings", "false_alarms_per_day"), "many"),
        (("settings", "false_alarms_per_day"), -1),
        (("settings", "false_alarms_per_day"), 10**400),
        (("settings", "sensitivity"), 1e308),
        (("settings", "refractory_s"), float("nan")),
        (("settings", "same"), "banana"),
        (("settings", "pitch"), 3),
    ],
)
def test_an_index_with_anything_amiss_is_a_sentence(
    keys: tuple[str | int, ...], to: Any, stage: Path, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_in_index(profile, "sounds", "dog", *keys, to=to)
    where = [f"--profile={profile}", f"--model={stage}/tiny.onnx"]
    for command in (["listen", "--source", f"{stage}/day.wav"], ["refit"]):
        assert main([*command, *where]) == 1
        message = capsys.readouterr().err
        assert "profile.json is damaged" in message
        assert len(message) < 1000


def test_an_index_that_is_nested_without_end_is_a_sentence(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (profile / "profile.json").write_text("[" * 100_000)
    assert main(["sounds", f"--profile={profile}"]) == 1
    assert "profile.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"caf\xe9.wav", "caf\N{REPLACEMENT CHARACTER}.wav"),  # Latin-1
        ("10.30\N{NARROW NO-BREAK SPACE}AM.wav".encode(), "10.30 AM.wav"),  # as macOS names recordings
        (b"\x1b[31mred\n.wav", "\N{REPLACEMENT CHARACTER}[31mred .wav"),
    ],
)
def test_a_recording_may_have_any_file_name(
    name: bytes, expected: str, stage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "x.wav", burst(9), RATE)
    (tmp_path / "x.wav").rename(str(tmp_path / "in") + "/" + name.decode("utf-8", "surrogateescape"))
    where = [f"--profile={tmp_path}/p", f"--model={stage}/tiny.onnx"]
    assert main(["enrol", "gong", "--from", f"{tmp_path}/in", *where]) == 0
    assert Path(Profile(tmp_path / "p").sounds["gong"][0].origin).name == expected
    assert "\x1b" not in capsys.readouterr().err
    assert main(["pack", "export", f"{tmp_path}/gong.zip", *where]) == 0
    assert main(["pack", "import", f"{tmp_path}/gong.zip", f"--profile={tmp_path}/q", where[1]]) == 0


def test_what_cannot_be_written_can_be_listened_with_and_exported(
    stage: Path, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A file in place of the folder of embeddings, and a folder in place of the head: neither can be written."""
    shutil.rmtree(profile / "embeddings")
    (profile / "embeddings").write_text("")
    (profile / "head.npz").unlink()
    (profile / "head.npz").mkdir()
    where = [f"--profile={profile}", f"--model={stage}/tiny.onnx"]
    assert main(["listen", "--source", f"{stage}/day.wav", *where]) == 0
    assert "listening for bell, dog" in capsys.readouterr().err
    assert len([line for line in caplog.messages if "cannot write" in line]) == 2
    assert main(["pack", "export", f"{tmp_path}/all.zip", *where]) == 0
    assert main(["refit", *where]) == 1  # which is asked to write


def test_a_head_that_was_fitted_with_other_settings_is_fitted_anew(profile: Path, embedder: Embedder) -> None:
    """As after a crash between the head and the index."""
    before = Profile(profile).head(embedder)
    set_in_index(profile, "sounds", "dog", "settings", "false_alarms_per_day", to=3000)
    after = Profile(profile).head(embedder)
    assert after.bias[1] > before.bias[1]
    assert Profile(profile).head(embedder).recordings == after.recordings


def test_whoever_reads_while_a_sound_is_removed_reads_what_is_left(profile: Path, embedder: Embedder) -> None:
    early, late = Profile(profile), Profile(profile)
    with late.lock():
        remove_sounds(late, ["bell"], embedder)
    assert {entry.sound for entry in early.examples(embedder)} == {"dog", "-dog", "background"}
    assert early.taught == ["dog"]


def test_a_reader_between_a_new_head_and_its_index_waits_and_writes_nothing(profile: Path, embedder: Embedder) -> None:
    early, late = Profile(profile), Profile(profile)
    heads = []
    with late.lock():
        remove_sounds(late, ["bell"], embedder)
        index = (profile / "profile.json").read_bytes()
        early.index.write(profile / "profile.json")  # as it was before: this head's index is yet to come
        reader = threading.Thread(target=lambda: heads.append(early.head(embedder)))
        reader.start()
        reader.join(0.5)
        assert reader.is_alive()
        (profile / "profile.json").write_bytes(index)
    written = (profile / "head.npz").stat().st_mtime_ns
    reader.join(30)
    assert heads[0].sounds == ("dog",)
    assert (profile / "head.npz").stat().st_mtime_ns == written


def test_a_damaged_recording_of_the_room_costs_no_other_its_embeddings(
    profile: Path, embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    opened = Profile(profile)
    with opened.lock():
        opened.add("background", bursts(20, 1), embedder)
    opened.files.recording(opened.sounds["background"][0].id).write_bytes(b"")
    opened.files.embeddings(opened.sounds["dog"][0].id).unlink()
    assert opened.head(embedder).sounds == ("bell", "dog")
    assert len([entry for entry in opened.examples(embedder) if entry.sound == "dog"]) == 3
    assert "the noise of this room is not added" in caplog.text


def test_an_index_that_cannot_be_read_is_not_called_damaged(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (profile / "profile.json").unlink()
    (profile / "profile.json").mkdir()
    assert main(["sounds", f"--profile={profile}"]) == 1
    assert "profile.json: Is a directory; choose another" in capsys.readouterr().err


def test_a_path_that_cannot_be_one_is_a_sentence(stage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--profile=a\0b", f"--model={stage}/tiny.onnx"]
    for command in (
        ["listen", "--source", f"{stage}/day.wav"],
        ["refit"],
        ["enrol", "x", "--from", f"{stage}/day.wav"],
    ):
        assert main([*command, *where]) == 1
        assert capsys.readouterr().err.startswith("error: ")
