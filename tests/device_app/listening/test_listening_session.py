"""`earmark listen` as a whole: ends, reloads, outputs, and what systemd is told."""

import http.server
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from device_app.__main__ import main
from device_app.demo.stream import bundled_clips
from device_app.history.history import History
from device_app.room.room import clear_room, read_room
from tests.device_app.listening_process import Listening
from tests.device_app.outputs.conftest import Receiver, wait_until

DOGS = bundled_clips("enrol")["dog_bark"]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught") / "profile"
    assert main(["enrol", "dog", "--from", str(DOGS[0].parent), "--profile", str(folder)]) == 0
    return folder


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.stop()


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Two seconds of quiet, then a dog that barks for half a minute."""
    quiet = np.random.default_rng(0).standard_normal(32000).astype(np.float32) * 1e-4
    bark = sf.read(DOGS[0], dtype="float32")[0]
    sf.write(tmp_path / "day.flac", np.concatenate([quiet, *[bark] * 6]), 16000)
    return tmp_path / "day.flac"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_events_that_last(
    profile: Path, day: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    listening = Listening(tmp_path, "--source", day, "--realtime", "--profile", profile)
    wait_until(lambda: "start" in listening.types(), "event", 60)
    assert listening.end(number) == status, listening.errors
    assert listening.types()[-1] == "end"
    assert listening.lines[-1]["id"] == listening.lines[0]["id"]
    assert "Traceback" not in listening.errors
    assert "heard" in listening.errors


def test_every_output_gets_the_same_events(profile: Path, day: Path, tmp_path: Path, receiver: Receiver) -> None:
    ran, clips, history = tmp_path / "ran", tmp_path / "clips", tmp_path / "history.sqlite3"
    listening = Listening(
        tmp_path,
        *("--source", day, "--profile", profile, "--history", history, "--clips-folder", clips),
        *("--exec", f"dog=touch {ran}-{{id}}", "--webhook-url", receiver.url),
        EARMARK_WEBHOOK_TOKEN="s3cr3t-token",
    )
    assert listening.end() == 0, listening.errors
    starts = [line for line in listening.lines if line["type"] == "start"]
    ends = [line for line in listening.lines if line["type"] == "end"]
    assert {line["id"] for line in starts} == {line["id"] for line in ends} != set()
    assert [body for _, body in receiver.requests] == [line for line in listening.lines if line["type"] != "update"]
    assert History(history).lines() == sorted(ends, key=lambda line: line["time"])
    assert sorted(path.name for path in tmp_path.glob("ran-*")) == sorted(f"ran-{line['id']}" for line in starts)
    assert sorted(clips.iterdir()) == sorted(Path(line["clip"]) for line in ends)
    samples, rate = sf.read(ends[0]["clip"])
    assert rate == 16000
    assert len(samples) / rate == pytest.approx(min(30.0, ends[0]["duration_s"] + 1.5), abs=1.0)
    assert "s3cr3t" not in listening.errors


def test_the_events_of_a_recording_stay_out_of_the_history_unless_one_is_named(
    profile: Path, day: Path, tmp_path: Path
) -> None:
    assert Listening(tmp_path, "--source", day, "--profile", profile).end() == 0
    assert not list((tmp_path / "data").rglob("*.sqlite3"))


def test_the_room_is_learned_on_the_side_from_what_is_none_of_the_sounds(
    profile: Path, day: Path, tmp_path: Path
) -> None:
    assert Listening(tmp_path, "--source", day, "--profile", profile).end() == 0
    assert read_room(profile) is None  # only where it is wanted
    street = tmp_path / "street.flac"
    sf.write(street, np.random.default_rng(1).standard_normal(20 * 16000).cumsum() * 1e-4 % 0.2, 16000)
    listening = Listening(tmp_path, "--source", street, "--profile", profile, "--learn-room")
    assert listening.end() == 0, listening.errors
    room = read_room(profile)
    assert room is not None
    assert not listening.lines
    assert 10 < room.n_seen == len(room.rows) <= 77  # windows of 20 s; the gate spares some of them
    clear_room(profile)


def test_sighup_reads_the_settings_and_the_profile_again(profile: Path, day: Path, tmp_path: Path) -> None:
    listening = Listening(tmp_path, "--source", day, "--realtime", "--profile", profile)
    wait_until(lambda: "start" in listening.types(), "event", 60)
    listening.config.parent.mkdir(parents=True)
    listening.config.write_text("[clips]\nfoldr = 'x'\n")
    listening.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the earlier ones stay" in listening.errors, "complaint")
    assert "did you mean 'folder'" in listening.errors
    listening.config.write_text(f"[clips]\nfolder = '{tmp_path / 'clips'}'\n")
    listening.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "settings read again" in listening.errors, "reload")
    assert "end" in listening.types()  # an event does not outlive the settings that it was heard with
    n_before = len(listening.lines)
    wait_until(lambda: "start" in listening.types()[n_before:], "event after the reload", 30)
    assert listening.end(signal.SIGTERM) == 0
    assert listening.lines[-1]["type"] == "end"
    assert Path(listening.lines[-1]["clip"]).parent == tmp_path / "clips"


def test_what_is_taught_meanwhile_is_listened_for_without_a_signal(profile: Path, day: Path, tmp_path: Path) -> None:
    own = shutil.copytree(profile, tmp_path / "profile")
    listening = Listening(tmp_path, "--source", day, "--realtime", "--profile", own)
    wait_until(lambda: "listening for dog on" in listening.errors, "start", 60)
    roosters = str(bundled_clips("enrol")["rooster"][0].parent)
    assert main(["enrol", "rooster", "--from", roosters, "--profile", str(own)]) == 0
    wait_until(lambda: "settings read again: listening for dog, rooster" in listening.errors, "reload", 30)
    assert listening.end(signal.SIGTERM) == 0, listening.errors
    assert listening.errors.count("settings read again") == 1


class OnceOnly(http.server.BaseHTTPRequestHandler):
    """Streams a dog that barks, at its own pace, breaks off in the middle of it and does not come back."""

    n_requests = 0

    def do_GET(self) -> None:
        type(self).n_requests += 1
        if self.n_requests > 1:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        quiet = (np.random.default_rng(0).standard_normal(80000) * 3.0).astype(np.int16)
        samples = np.concatenate([quiet, sf.read(DOGS[0], dtype="int16")[0][: 16000 * 2]])
        self.wfile.write(struct.pack(">4s5I", b".snd", 24, 0xFFFFFFFF, 3, 16000, 1))
        for start in range(0, len(samples), 1600):
            self.wfile.write(samples[start : start + 1600].astype(">i2").tobytes())
            time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here: apt-get install ffmpeg")
def test_an_event_ends_when_its_source_is_lost_though_it_does_not_come_back(profile: Path, tmp_path: Path) -> None:
    OnceOnly.n_requests = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OnceOnly) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        listening = Listening(
            tmp_path, "--source", f"http://127.0.0.1:{server.server_port}/live.au", "--profile", profile
        )
        wait_until(lambda: "end" in listening.types(), "end", 60)
        assert listening.process.poll() is None
        assert listening.end(signal.SIGTERM) == 0, listening.errors
        server.shutdown()
    kinds = [(line["type"], line.get("state")) for line in listening.lines if line["type"] != "update"]
    kinds = kinds[kinds.index(("source", "running")) :]  # ffmpeg may take longer than the patience before it
    assert kinds[:4] == [("source", "running"), ("start", None), ("source", "lost"), ("end", None)]
    assert ("source", "retrying") in kinds
    ended = next(line for line in listening.lines if line["type"] == "end")
    assert 0.5 < ended["start_s"] < ended["end_s"] <= 7.0  # ffmpeg takes its time to look at a stream


def test_systemd_is_told_what_happens(profile: Path, day: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        listening = Listening(
            tmp_path,
            *("--source", day, "--realtime", "--profile", profile),
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            WATCHDOG_USEC="400000",
        )
        assert systemd.recv(1000).decode() == f"READY=1\nSTATUS=listening for dog on {day}"
        assert [systemd.recv(1000) for _ in range(4)] == [b"WATCHDOG=1"] * 4
        listening.process.send_signal(signal.SIGHUP)
        told = [systemd.recv(1000).decode().split("\n")[0] for _ in range(12)]
        assert [message for message in told if message != "WATCHDOG=1"] == ["RELOADING=1", "READY=1"]
        assert listening.end(signal.SIGTERM) == 0
        systemd.setblocking(False)
        assert b"STOPPING=1" in iter(lambda: systemd.recv(1000), b"")


def test_a_sound_that_is_not_taught_is_warned_of(profile: Path, day: Path, tmp_path: Path) -> None:
    listening = Listening(tmp_path, "--source", day, "--profile", profile, "--exec", "dogg=true")
    assert listening.end() == 0
    assert "the settings name the sound 'dogg', which is not taught: dog are" in listening.errors


def test_a_plain_listening_imports_no_output_that_is_not_configured(profile: Path, day: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from device_app.__main__ import main;"
        f"main(['listen', '--source', {str(day)!r}, '--profile', {str(profile)!r}]);"
        "print('\\n' + ' '.join(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.splitlines()[-1].split())
    unwanted = {"urllib3", "rich", "plotext", "sklearn", "concurrent.futures.thread"}
    assert unwanted.isdisjoint(loaded), unwanted & loaded
