"""A profile survives anything: kill -9 before every single operation on its files, a full disk, two processes."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device_app.__main__ import main
from device_app.audio_file import read_native
from device_app.capture import FileSource
from device_app.enrolment import command
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording
from device_app.enrolment.profile_index import Index
from device_app.enrolment.sound_changes import remove_sounds, rename_sound
from device_app.files import write_aside
from device_app.model.embedder import Embedder, load_embedder
from device_app.packs.exchange import export_pack
from device_app.recordings.take import Take
from device_app.recordings.take_session import TakeSession
from device_app.recordings.waiting_takes import WaitingTakes
from tests.device_app.enrolment import survival_scenes as scenes
from tests.device_app.enrolment.faults import run
from tests.device_app.small_profile import RATE, burst, bursts, snapshot, write_bursts
from tests.device_app.tiny_model import write_tiny_model

SCENES = ["enrol", "record", "refit", "import", "remove", "rename", "correct", "undo", "room"]
SCENES += ["settings", "missed", "mend", "old"]
# In everyday tests before some of the operations, in the slow ones before every single one.
EVERY = pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A taught profile, a model, recordings and a pack."""
    folder = tmp_path_factory.mktemp("stage")
    embedder = load_embedder(write_tiny_model(folder / "tiny.onnx"))
    profile = Profile(folder / "taught")
    with profile.lock():
        profile.add_groups({"dog": bursts(0, 2), "cat": bursts(2, 2)}, embedder)
    write_bursts(folder / "bell", 10, 2)
    write_bursts(folder / "dog", 0, 2)
    gift = Profile(folder / "gift")
    with gift.lock():
        gift.add("gong", bursts(15, 2), embedder)
    export_pack(gift, folder / "gift.zip", embedder, names=[], with_audio=True, licence="")
    return folder


@pytest.fixture
def embedder(stage: Path) -> Embedder:
    return load_embedder(stage / "tiny.onnx")


class Play:
    """One scene that is played again and again, each time on a fresh profile."""

    def __init__(self, stage: Path, name: str, folder: Path) -> None:
        self.stage, self.folder, self.profile = stage, folder, folder / "profile"
        self.acknowledged, self.log = folder / "acknowledged", folder / "log"
        where = (f"--profile={self.profile}", f"--model={stage}/tiny.onnx")
        both = str(self.profile), f"{stage}/tiny.onnx"
        self._scene: Callable[..., int]
        self._scene, self._arguments = {
            "enrol": (scenes.earmark, ("enrol", "bell", "--from", f"{stage}/bell", *where)),
            "record": (scenes.record, (*both, str(self.acknowledged))),
            "refit": (scenes.earmark, ("refit", *where)),
            "import": (scenes.earmark, ("pack", "import", f"{stage}/gift.zip", *where)),
            "remove": (scenes.earmark, ("remove", "cat", *where)),
            "rename": (scenes.earmark, ("rename", "cat", "puma", *where)),
            "correct": (scenes.correct, both),
            "undo": (scenes.correct, both),
            "room": (scenes.hear_room, both),
            "settings": (
                scenes.earmark,
                ("enrol", "dog", "--from", f"{stage}/dog", "--false-alarms-per-day=3000", *where),
            ),
            "missed": (scenes.earmark, ("missed", "dog", "--from", f"{stage}/bell/burst10.wav", *where)),
            "mend": (scenes.earmark, ("enrol", "dog", "--from", f"{stage}/dog", *where)),
            "old": (scenes.earmark, ("enrol", "bell", "--from", f"{stage}/bell", *where)),
        }[name]
        self._name = name
        self.loses = name == "mend"  # a recording, before it is played
        self.fits = name != "room"  # what it changes counts from the next fit on

    def set_up(self) -> None:
        shutil.rmtree(self.profile, ignore_errors=True)
        self.acknowledged.unlink(missing_ok=True)
        shutil.copytree(self.stage / "taught", self.profile)
        if self._name == "undo":
            scenes.correct(*self._arguments)
        if self._name == "refit":
            shutil.rmtree(self.profile / "embeddings")
        if self._name == "mend":  # one recording is lost, another damaged
            lost, damaged = Profile(self.profile).sounds["dog"]
            (self.profile / "recordings" / f"{lost.id}.flac").unlink()
            (self.profile / "recordings" / f"{damaged.id}.flac").write_bytes(b"fLaC")
        if self._name == "old":  # as version 1 wrote it
            index = json.loads((self.profile / "profile.json").read_text())
            sounds = {name: entry["recordings"] for name, entry in index["sounds"].items()}
            (self.profile / "profile.json").write_text(json.dumps({"schema": 1, "sounds": sounds}))

    def run(self, *, at: int | None, fault: str = "kill") -> tuple[int, int]:
        return run(
            self._scene,
            *self._arguments,
            folder=self.profile,
            fault=fault,
            at=at,
            log=self.log,  # type: ignore[arg-type]
        )


def state(index: Index) -> object:
    """What an index says, times left out."""
    sounds = {name: sorted(entry.id for entry in entries) for name, entries in index.sounds.items()}
    return (
        sounds,
        dict(index.settings),
        [(entry.kind, entry.event, entry.undone is None) for entry in index.corrections],
    )


def rehearse(play: Play) -> tuple[object, object, int]:
    """Play a scene undisturbed: what the index says before and after it, and its number of operations."""
    play.set_up()
    before = state(Profile(play.profile).index)
    status, n_operations = play.run(at=None)
    assert status == 0, play.log.read_text()
    return before, state(Profile(play.profile).index), n_operations


def check(play: Play, embedder: Embedder, before: object, after: object) -> None:
    """The profile is as it was before or as it is after, it can be listened with, and no finished take is lost."""
    profile = Profile(play.profile)
    assert state(profile.index) in (before, after)
    for entries in profile.sounds.values():
        for entry in entries:
            if not play.loses:
                assert len(read_native(profile.files.recording(entry.id))[0]) > 0
    head = profile.head(embedder)
    assert head.sounds == tuple(profile.taught)
    if play.fits:  # what listens is what the index says, its settings as well
        np.testing.assert_allclose(head.bias, profile.fit(embedder).head.bias, rtol=1e-4)
    if play.acknowledged.exists():
        waiting = {take.id for take in WaitingTakes(play.profile, "bell").read()}
        assert set(play.acknowledged.read_text().split()) <= waiting | profile.index.recording_ids


@EVERY
@pytest.mark.parametrize("name", SCENES)
def test_a_kill_before_any_operation_leaves_the_last_good_state(
    name: str, every: int, stage: Path, embedder: Embedder, tmp_path: Path
) -> None:
    play = Play(stage, name, tmp_path)
    before, after, n_operations = rehearse(play)
    assert n_operations >= 3
    done = set()
    for at in range(SCENES.index(name) % every, n_operations, every):
        play.set_up()
        assert play.run(at=at)[0] == -signal.SIGKILL, play.log.read_text()
        check(play, embedder, before, after)
        done.add(state(Profile(play.profile).index) == after)
        if state(Profile(play.profile).index) == before != after:  # the same command again does it
            assert play.run(at=None)[0] == 0, play.log.read_text()
            assert state(Profile(play.profile).index) == after
        with Profile(play.profile).lock():  # whoever comes next tidies up
            pass
        if name == "room":  # which has a lock of its own
            assert play.run(at=None)[0] == 0
        assert not list(play.profile.rglob("*.part"))
    assert before == after or False in done


@EVERY
@pytest.mark.parametrize("name", SCENES)
def test_a_disk_that_is_full_from_any_operation_on_is_a_sentence_and_changes_nothing(
    name: str, every: int, stage: Path, embedder: Embedder, tmp_path: Path
) -> None:
    play = Play(stage, name, tmp_path)
    before, after, n_operations = rehearse(play)
    n_refused = 0
    for at in range(SCENES.index(name) % every, n_operations, every):
        play.set_up()
        status, _ = play.run(at=at, fault="full")
        lines = play.log.read_text().splitlines()
        if status:
            n_refused += 1
            assert status == 1, lines
            assert lines[-1].startswith("error: "), lines
            assert "Traceback" not in play.log.read_text()
            assert "No space left" in lines[-1], lines
        check(play, embedder, before, after)
        assert not list(play.profile.rglob("*.part"))
    assert n_refused >= 1


def test_takes_of_a_killed_enrolment_are_used_by_the_next(stage: Path, tmp_path: Path) -> None:
    play = Play(stage, "record", tmp_path)
    play.set_up()
    _, n_operations = play.run(at=None)
    for at in range(n_operations):
        play.set_up()
        assert play.run(at=at)[0] == -signal.SIGKILL
        if play.acknowledged.exists() and len(play.acknowledged.read_text().split()) == 2:
            break
    assert "bell" not in Profile(play.profile).sounds
    assert play.run(at=None)[0] == 0
    assert "2 finished takes of bell wait from earlier" in play.log.read_text()
    assert "bell: 3 recordings added" in play.log.read_text()
    assert not list((play.profile / "takes").rglob("*.flac"))


@pytest.mark.parametrize("seed", range(2))
def test_a_kill_at_any_moment_leaves_the_last_good_state(
    seed: int, stage: Path, embedder: Embedder, tmp_path: Path
) -> None:
    play = Play(stage, "enrol", tmp_path)
    play.set_up()
    before = state(Profile(play.profile).index)
    code = (
        "import sys; from device_app.__main__ import main; import device_app.enrolment.command, sklearn.linear_model;"
        "print('ready', flush=True); main(sys.argv[1:])"
    )
    command = ["enrol", "bell", "--from", f"{stage}/bell", f"--profile={play.profile}", f"--model={stage}/tiny.onnx"]
    rng = np.random.default_rng(seed)
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.15))
        process.kill()
    assert main(command) == 0
    after = state(Profile(play.profile).index)
    assert before != after
    check(play, embedder, before, after)


def test_two_processes_that_teach_at_once_both_succeed(stage: Path, embedder: Embedder, tmp_path: Path) -> None:
    play = Play(stage, "enrol", tmp_path)
    play.set_up()
    folders = [write_bursts(tmp_path / f"sound{i}", 30 + 2 * i, 2) for i in range(2)]
    where = [f"--profile={play.profile}", f"--model={stage}/tiny.onnx"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "device_app", "enrol", folder.name, "--from", str(folder), *where],
            stderr=subprocess.PIPE,
        )
        for folder in folders
    ]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    profile = Profile(play.profile)
    assert profile.taught == ["cat", "dog", "sound0", "sound1"]
    assert profile.head(embedder).sounds == tuple(profile.taught)


@pytest.mark.slow
def test_four_processes_that_teach_listen_report_and_hand_on_at_once_all_succeed(
    stage: Path, embedder: Embedder, tmp_path: Path
) -> None:
    play = Play(stage, "enrol", tmp_path)
    play.set_up()
    for i in range(2):
        write_bursts(tmp_path / f"sound{i}", 30 + 2 * i, 2)
    where = [f"--profile={play.profile}", f"--model={stage}/tiny.onnx"]
    work = [
        [["enrol", "sound0", "--from", f"{tmp_path}/sound0"], ["remove", "sound0"]],
        [["enrol", "sound1", "--from", f"{tmp_path}/sound1"], ["rename", "sound1", "gong"], ["remove", "gong"]],
        [["refit"], ["pack", "export", f"{tmp_path}/all.zip", "--with-audio"], ["report", "--json"]],
        [["listen", "--source", f"{stage}/bell/burst10.wav"], ["report"]],
    ]
    code = (
        "import json, sys; from device_app.__main__ import main\n"
        "for command in 20 * json.loads(sys.argv[1]): assert main(command) == 0, command"
    )
    processes = []
    for commands in work:
        arguments = json.dumps([[*command, *where] for command in commands])
        run_all = [sys.executable, "-c", code, arguments]
        processes.append(subprocess.Popen(run_all, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err[-2000:]
    profile = Profile(play.profile)
    assert profile.taught == ["cat", "dog"]
    assert profile.head(embedder).sounds == ("cat", "dog")
    assert {path.stem for path in (play.profile / "recordings").iterdir()} == profile.index.recording_ids


def test_a_small_disk_that_fills_up_is_a_sentence(stage: Path, tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        profile = tmp_path / "profile"
        noise = np.random.default_rng(0).normal(0, 0.1, (20, 8000)).astype(np.float32)
        where = [f"--profile={profile}", f"--model={stage}/tiny.onnx"]
        assert main(["enrol", "bell", "--from", f"{stage}/bell", *where]) == 0
        before = snapshot(profile)
        result = subprocess.run(
            [sys.executable, "-m", "device_app", "enrol", "hiss", "--from", _write_noise(stage, noise), *where],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1].startswith("error: ")
        assert "No space left on device" in result.stderr
        assert snapshot(profile) == before
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def _write_noise(stage: Path, noise: np.ndarray) -> str:
    import soundfile as sf

    folder = stage / "hiss"
    folder.mkdir(exist_ok=True)
    for i, waveform in enumerate(noise):
        sf.write(folder / f"{i}.wav", waveform, 8000)
    return str(folder)


def test_a_profile_that_may_not_be_written_is_a_sentence(
    stage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    where = [f"--profile={tmp_path}/file/profile", f"--model={stage}/tiny.onnx"]
    assert main(["enrol", "bell", "--from", f"{stage}/bell", *where]) == 1
    assert "cannot write the profile" in capsys.readouterr().err


def test_a_profile_whose_index_was_lost_keeps_its_recordings(stage: Path, embedder: Embedder, tmp_path: Path) -> None:
    profile = Path(shutil.copytree(stage / "taught", tmp_path / "profile"))
    (profile / "profile.json").unlink()
    where = [f"--profile={profile}", f"--model={stage}/tiny.onnx"]
    assert main(["enrol", "bell", "--from", f"{stage}/bell", *where]) == 0
    assert len(list((profile / "recordings").iterdir())) == 4 + 2
    assert json.loads((profile / "profile.json").read_text())["sounds"].keys() == {"bell"}


def test_what_is_written_survives_a_power_cut_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file reaches the disk before it gets its name, and the folder after that."""
    order = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(source: Path, target: Path) -> None:
        order.append("name")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", replace)
    monkeypatch.setattr(os, "replace", replace)
    write_aside(tmp_path / "x", b"content")
    assert order == ["file", "name", "folder"]


def take(seed: int) -> NewRecording:
    return NewRecording(burst(seed), RATE, "a microphone", f"2026-01-01T00:00:0{seed}+00:00")


def test_takes_of_another_process_are_not_deleted_with_ones_own(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play(stage, "record", tmp_path)
    play.set_up()

    def record_takes(source: object, takes: TakeSession, **options: object) -> None:
        for seed in (1, 2):
            takes.keep(Take(burst(20 + seed), RATE, 1e9 + seed, "a microphone", 0, True, burst(0)[:0]))
        WaitingTakes(play.profile, "bell").keep(take(5))  # of another one, which is killed later

    monkeypatch.setattr(command, "record_takes", record_takes)
    into = command.Enrolment(profile_path=play.profile, model_path=stage / "tiny.onnx", by_hand={}, as_json=False)
    command.enrol_microphone("bell", into, source=FileSource(Path("x")), n_takes=2, take_s=1.0, afresh=False)
    assert len(Profile(play.profile).sounds["bell"]) == 2
    assert [waiting.id for waiting in WaitingTakes(play.profile, "bell").read()] == [take(5).id]


def test_a_damaged_take_that_waits_does_not_cost_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    waiting = WaitingTakes(tmp_path, "bell")
    waiting.keep(take(1))
    waiting.keep(take(2))
    (tmp_path / "takes" / "bell" / f"{take(1).id}.flac").write_bytes(b"")
    assert [each.id for each in waiting.read()] == [take(2).id]
    assert "is left out" in caplog.text


def test_waiting_takes_follow_their_sound(stage: Path, embedder: Embedder, tmp_path: Path) -> None:
    profile = Profile(Path(shutil.copytree(stage / "taught", tmp_path / "profile")))
    WaitingTakes(profile.path, "cat").keep(take(1))
    WaitingTakes(profile.path, "-cat").keep(take(2))
    with profile.lock():
        rename_sound(profile, "cat", "puma", embedder)
    assert WaitingTakes(profile.path, "cat").read() == []
    assert [each.id for each in WaitingTakes(profile.path, "puma").read()] == [take(1).id]
    with profile.lock():
        remove_sounds(profile, ["puma"], embedder)
    assert not list(profile.path.rglob("takes/**/*.flac"))
