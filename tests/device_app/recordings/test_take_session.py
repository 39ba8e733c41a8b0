"""An enrolment from the microphone that ends early in one way or another: the finished takes count."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_app.__main__ import main
from device_app.enrolment import command
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording
from device_app.errors import AudioError, DeviceError, EarmarkError
from device_app.model.embedder import load_embedder
from device_app.recordings.take import Take, Takes
from device_app.recordings.take_session import TakeSession
from device_app.recordings.waiting_takes import WaitingTakes
from tests.device_app.small_profile import RATE, burst, bursts
from tests.device_app.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def take(seed: int) -> Take:
    waveform = burst(seed)
    return Take(waveform, RATE, 1e9 + seed, "the microphone 'USB'", 0, True, waveform[:0])


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Decide what the person records, and how it ends."""

    def play(*seeds: int, ends: BaseException | None = None) -> None:
        def record_takes(source: object, takes: Takes, **options: Any) -> None:
            for seed in seeds:
                takes.judge(take(seed))
                takes.keep(take(seed))
            if ends is not None:
                raise ends
            assert options["n_takes"] == len(seeds)

        monkeypatch.setattr(command, "record_takes", record_takes)

    return play


def origins(profile: Path, sound: str) -> list[str]:
    return [entry.recorded for entry in Profile(profile).sounds.get(sound, [])]


@pytest.mark.parametrize("error", [DeviceError("the microphone went away"), AudioError("refused 4 times")])
def test_a_lost_microphone_leaves_the_takes_and_the_same_command_goes_on_with_them(
    error: EarmarkError, session: Callable[..., None], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["enrol", "bell", "--takes=3", f"--profile={tmp_path}", f"--model={model}"]
    session(0, 1, ends=error)
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert f"error: {error}. The 2 finished takes are kept" in err
    assert origins(tmp_path, "bell") == []
    session(2)
    assert main(arguments) == 0
    assert len(origins(tmp_path, "bell")) == 3
    assert origins(tmp_path, "bell")[0] == "2001-09-09T01:46:40.000+00:00"
    assert not WaitingTakes(tmp_path, "bell").read()


def test_ctrl_c_teaches_what_there_is(session: Callable[..., None], model: Path, tmp_path: Path) -> None:
    session(0, 1, ends=KeyboardInterrupt())
    assert main(["enrol", "bell", f"--profile={tmp_path}", f"--model={model}"]) == 0
    assert len(origins(tmp_path, "bell")) == 2


def test_ctrl_c_before_the_first_take_teaches_nothing(
    session: Callable[..., None], model: Path, tmp_path: Path
) -> None:
    session(ends=KeyboardInterrupt())
    assert main(["enrol", "bell", f"--profile={tmp_path}", f"--model={model}"]) == 130
    assert Profile(tmp_path).sounds == {}


def test_waiting_takes_can_be_left_out(session: Callable[..., None], model: Path, tmp_path: Path) -> None:
    arguments = ["enrol", "bell", "--takes=2", f"--profile={tmp_path}", f"--model={model}"]
    session(0, ends=DeviceError("gone"))
    assert main(arguments) == 1
    session(1, 2)
    assert main([*arguments, "--afresh"]) == 0
    assert origins(tmp_path, "bell") == ["2001-09-09T01:46:41.000+00:00", "2001-09-09T01:46:42.000+00:00"]


def test_takes_that_wait_for_one_sound_are_not_used_for_another(
    session: Callable[..., None], model: Path, tmp_path: Path
) -> None:
    session(0, ends=DeviceError("gone"))
    assert main(["enrol", "bell", f"--profile={tmp_path}", f"--model={model}"]) == 1
    session(1)
    assert main(["enrol", "dog", "--takes=1", f"--profile={tmp_path}", f"--model={model}"]) == 0
    assert len(WaitingTakes(tmp_path, "bell").read()) == 1
    assert len(origins(tmp_path, "dog")) == 1


def test_a_take_that_is_taken_again_is_forgotten(model: Path, tmp_path: Path) -> None:
    profile = Profile(tmp_path)
    takes = TakeSession("bell", profile, load_embedder(model), [])
    for seed in (0, 1):
        takes.judge(take(seed))
        takes.keep(take(seed))
    takes.drop_last()
    (left,) = WaitingTakes(tmp_path, "bell").read()
    assert left.id == NewRecording(burst(0), RATE, "").id
    assert [recording.id for recording in takes.recordings] == [left.id]


def test_a_take_is_judged_by_its_signal_and_beside_what_is_taught(model: Path, tmp_path: Path) -> None:
    embedder = load_embedder(model)
    profile = Profile(tmp_path)
    with profile.lock():
        profile.add("dog", [NewRecording(b.waveform, RATE, "x") for b in bursts(3, 1)], embedder)
    takes = TakeSession("bell", profile, embedder, bursts(5, 1))
    assert [finding.code for finding in takes.judge(take(3))] == ["sounds_like"]
    silent = Take(np.zeros(RATE, np.float32), RATE, 0.0, "", 0, False, np.zeros(0, np.float32))
    assert [finding.useless for finding in takes.judge(silent)] == [True]
    assert TakeSession("background", profile, embedder, []).judge(silent) == []
    negative = TakeSession("-dog", profile, embedder, bursts(5, 1))
    assert negative.judge(take(3)) == []
