"""The whole product on a real capture: PortAudio records what PulseAudio plays."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from device_app.__main__ import main
from device_app.demo.stream import bundled_clips
from device_app.enrolment.profile import Profile
from tests.device_app.virtual_mic import VirtualMic

pytestmark = pytest.mark.mic
BABIES = bundled_clips("enrol")["baby_cry"]
DOGS = bundled_clips("enrol")["dog_bark"]


class Listening:
    """`earmark listen` in a process of its own, its output read as it comes."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "device_app", "listen", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_ctrl_c,
        )
        self.events: list[dict[str, Any]] = []
        self.log: list[str] = []
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_events, self._read_log)]
        for reader in self._readers:
            reader.start()

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def until(self, found: Callable[[dict[str, Any]], bool], timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait for an event."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            for event in list(self.events):
                if found(event):
                    return event
            time.sleep(0.1)
        raise AssertionError(f"not among {self.events}; {self.log}")

    def stop(self, number: int) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        try:
            status = self.process.wait(30)
        finally:
            self.process.kill()
        for reader in self._readers:
            reader.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return status


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    folder = tmp_path / "profile"
    assert main(["enrol", "dog", "--from", str(DOGS[0].parent), "--profile", str(folder)]) == 0
    return folder


def running(event: dict[str, Any]) -> bool:
    return event["type"] == "source" and event["state"] == "running"


def as_wav(clip: Path, folder: Path) -> Path:
    """The clip as a file that paplay can play, with a second of near silence on each side."""
    samples, rate = sf.read(clip, dtype="float32")
    quiet = np.random.default_rng(0).standard_normal(rate).astype(np.float32) * 1e-3
    path = folder / f"{clip.stem}.wav"
    sf.write(path, np.concatenate([quiet, samples, quiet]), rate)
    return path


def test_what_was_enrolled_is_heard_through_the_microphone_and_a_lost_microphone_is_an_event(
    virtual_mic: VirtualMic, profile: Path, tmp_path: Path
) -> None:
    bark = as_wav(DOGS[0], tmp_path)
    listening = Listening("--profile", str(profile))
    try:
        listening.until(running)
        before = time.time()
        virtual_mic.play(bark)
        heard = listening.until(lambda event: event["type"] == "start")
        assert heard["sound"] == "dog"
        assert before - 5.0 < np.datetime64(heard["time"][:-6], "us").astype(float) / 1e6 < time.time()
        virtual_mic.unplug()
        lost = listening.until(lambda event: event["type"] == "source" and event["state"] == "lost")
        assert lost["message"]
        virtual_mic.replug()
        time.sleep(6.0)  # until the recorder is back on it
        n_before = len(listening.events)
        virtual_mic.play(bark)
        listening.until(lambda event: event["type"] == "start" and event in listening.events[n_before:])
    finally:
        status = listening.stop(signal.SIGTERM)
    assert status == 0
    assert "Traceback" not in "".join(listening.log)


def test_ctrl_c_ends_the_listening_with_130_and_leaves_no_process(virtual_mic: VirtualMic, profile: Path) -> None:
    listening = Listening("--profile", str(profile))
    listening.until(running)
    children = _children(listening.process.pid)
    assert children
    assert listening.stop(signal.SIGINT) == 130
    assert "Traceback" not in "".join(listening.log)
    time.sleep(1.0)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_takes_from_the_microphone_teach_a_sound(virtual_mic: VirtualMic, tmp_path: Path) -> None:
    cry = as_wav(BABIES[0], tmp_path)
    looped = tmp_path / "loop.wav"
    samples, rate = sf.read(cry)
    sf.write(looped, np.concatenate([samples] * 8), rate)
    virtual_mic.start_playing(looped)
    folder = tmp_path / "profile"
    result = subprocess.run(
        [sys.executable, "-m", "device_app", "enrol", "baby", "--takes=2", "--take-s=2.5", f"--profile={folder}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    recordings = Profile(folder).sounds["baby"]
    assert len(recordings) == 2
    stored, stored_rate = sf.read(folder / "recordings" / f"{recordings[0].id}.flac")
    assert stored_rate >= 44100
    assert np.abs(stored).max() > 0.01
    listening = subprocess.run(
        [sys.executable, "-m", "device_app", "listen", "--source", str(cry), "--profile", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "baby" in [json.loads(line)["sound"] for line in listening.stdout.splitlines()]


@pytest.mark.parametrize("command", [["listen"], ["enrol", "bell"]])
def test_without_a_microphone_one_sentence_says_what_to_do(profile: Path, tmp_path: Path, command: list[str]) -> None:
    empty = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PULSE_SERVER": "unix:/nonexistent"}
    result = subprocess.run(
        [sys.executable, "-m", "device_app", *command, "--profile", str(profile)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **empty},
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "--source FILE" in last or "--from" in last or "libportaudio2" in last


def _heed_ctrl_c() -> None:
    """Undo what a shell does to the processes that it starts in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")  # a child belongs to the thread that started it
    return [int(child) for task in tasks for child in task.read_text().split()]
