"""Takes and the room from a real capture: PortAudio records what PulseAudio plays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import read_flac
from device_app.recordings.waiting_takes import WaitingTakes
from device_app.room.room import read_room
from tests.device_app.taught_profile import DOGS
from tests.device_app.virtual_mic import VirtualMic

pytestmark = pytest.mark.mic


@pytest.fixture
def barking(virtual_mic: VirtualMic, tmp_path: Path) -> VirtualMic:
    """A microphone that hears a bark every two seconds."""
    samples, rate = sf.read(DOGS[0], dtype="float32")
    quiet = np.random.default_rng(0).normal(0, 1e-3, 2 * rate).astype(np.float32)
    cycle = quiet.copy()
    loudest = int(np.argmax(np.abs(samples)))
    bark = samples[max(0, loudest - rate // 4) : loudest + rate // 4]
    cycle[rate // 2 : rate // 2 + len(bark)] += bark
    sf.write(tmp_path / "barks.wav", np.tile(cycle, 60), rate)
    virtual_mic.start_playing(tmp_path / "barks.wav")
    return virtual_mic


def enrol(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "device_app", "enrol", "dog", f"--profile={folder}", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def test_a_take_is_trimmed_dated_and_survives_a_kill_in_the_midst_of_the_next_one(
    barking: VirtualMic, tmp_path: Path
) -> None:
    folder = tmp_path / "profile"
    with enrol(folder, "--takes=3") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("take 2"):
                break
        process.send_signal(signal.SIGKILL)
    (take,) = WaitingTakes(folder, "dog").read()
    assert Profile(folder).sounds == {}
    assert take.origin == "the default microphone"
    assert take.recorded is not None
    age = np.datetime64("now") - np.datetime64(take.recorded.split("+")[0])
    assert np.timedelta64(0, "s") <= age < np.timedelta64(60, "s")
    assert 0.3 < len(take.waveform) / take.sample_rate < 2.5  # of the 3.3 s that a take may last
    with enrol(folder, "--takes=2") as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "1 finished takes of dog wait from earlier" in err
    entries = Profile(folder).sounds["dog"]
    assert len(entries) == 2
    assert take.id in {entry.id for entry in entries}
    stored = read_flac(folder / "recordings" / f"{take.id}.flac")
    assert (stored.origin, stored.recorded) == (take.origin, take.recorded)
    assert not os.listdir(folder / "takes")  # noqa: PTH208


def test_the_room_is_learned_from_the_microphone(barking: VirtualMic, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "device_app", "room", "--minutes=0.1", f"--profile={tmp_path}/p"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    room = read_room(tmp_path / "p")
    assert room is not None
    assert 5 <= len(room.rows) <= 14  # two a second, for six seconds
    assert not list((tmp_path / "p").rglob("*.flac"))
