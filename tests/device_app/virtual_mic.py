"""A microphone without hardware for tests: the fixture ``virtual_mic``.

PulseAudio runs for the test alone, with a home and a runtime folder of its own, so that neither the user's daemon nor
their ``~/.asoundrc`` is touched; it is stopped whatever happens. The work is done by ``tools/virtual-mic`` of the
shared folder where that is at hand (EARMARK_SHARED, or ``shared`` beside the checkout), else by the same few calls.

Where PulseAudio or PortAudio is missing the test is skipped; with EARMARK_REQUIRE_MIC set it fails instead.
"""

import ctypes.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_PACKAGES = "pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"
_NAME = "virtual_mic"
_SINK = [f"sink_name={_NAME}", "rate=48000", "channels=1", f"sink_properties=device.description={_NAME}"]


def _script() -> Path | None:
    shared = Path(os.environ.get("EARMARK_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    script = shared / "tools" / "virtual-mic"
    return script if script.is_file() else None


def missing_parts() -> str | None:
    """Why there can be no virtual microphone here; None if there can."""
    missing = [program for program in ("pulseaudio", "pactl", "paplay") if shutil.which(program) is None]
    if ctypes.util.find_library("portaudio") is None:
        missing.append("the PortAudio library")
    if not list(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so")):
        missing.append("ALSA's pulse plug-in")
    return f"no {' nor '.join(missing)} here: apt-get install {_PACKAGES}" if missing else None


class VirtualMic:
    """A running virtual microphone. What is played into it is what PortAudio's default device records.

    Args:
        folder: Its home and runtime folder; the path must be short, for a socket lies in it.
    """

    def __init__(self, folder: Path) -> None:
        home, runtime = folder / "home", folder / "run"
        for path in (home, runtime):
            path.mkdir(mode=0o700)
        self.environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
        self._runtime = runtime
        self._script = _script()
        self._players: list[subprocess.Popen[bytes]] = []
        self._module = ""

    def start(self) -> None:
        """Start the daemon and plug the microphone in."""
        if self._script:
            self._run("bash", str(self._script), "start")
            return
        self._run("pulseaudio", "--start", "--exit-idle-time=-1")
        until = time.monotonic() + 30.0
        while subprocess.run(["pactl", "info"], env=self._environment(), capture_output=True).returncode:
            assert time.monotonic() < until, "the PulseAudio daemon did not come up"
            time.sleep(0.1)
        Path(self.environment["HOME"], ".asoundrc").write_text(
            "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
        )
        self.replug()

    def play(self, path: Path) -> None:
        """Play a file into the microphone, to its end."""
        if self._script:
            self._run("bash", str(self._script), "play", str(path))
        else:
            self._run("paplay", f"--device={_NAME}", str(path))

    def start_playing(self, path: Path, latency_ms: int | None = None) -> None:
        """Play a file into the microphone while the test goes on.

        Args:
            path: What to play.
            latency_ms: Of the player; by default it hands over two seconds at once, and a recorder that comes while
                PulseAudio sleeps over them waits for the next ones.
        """
        latency = [] if latency_ms is None else [f"--latency-msec={latency_ms}"]
        command = ["paplay", *latency, f"--device={_NAME}", str(path)]
        self._players.append(subprocess.Popen(command, env=self._environment(), stderr=subprocess.DEVNULL))

    def stop_playing(self) -> None:
        """End what :meth:`start_playing` began."""
        for player in self._players:
            player.kill()
            player.wait()
        self._players.clear()

    def unplug(self) -> None:
        """Take the microphone away."""
        if self._script:
            self._run("bash", str(self._script), "unplug")
        else:
            self._run("pactl", "unload-module", self._module)

    def replug(self) -> None:
        """Bring it back."""
        if self._script:
            self._run("bash", str(self._script), "replug")
            return
        self._module = self._run("pactl", "load-module", "module-null-sink", *_SINK).strip()
        self._run("pactl", "set-default-sink", _NAME)
        self._run("pactl", "set-default-source", f"{_NAME}.monitor")

    def kill_server(self) -> None:
        """End the sound server at once, as a crash would."""
        os.kill(self._server_pid(), signal.SIGKILL)
        # Where nobody reaps it at once, PulseAudio takes the dead daemon for a running one.
        (self._runtime / "pulse" / "pid").unlink()

    def stop(self) -> None:
        """End the players and the daemon."""
        self.stop_playing()
        pid_file = self._runtime / "pulse" / "pid"
        if not pid_file.exists():
            return
        pid = self._server_pid()
        subprocess.run(["pulseaudio", "--kill"], env=self._environment(), capture_output=True, timeout=30)
        until = time.monotonic() + 10.0
        while pid_file.exists() and time.monotonic() < until:
            time.sleep(0.05)
        if pid_file.exists():
            os.kill(pid, signal.SIGKILL)

    def _server_pid(self) -> int:
        return int((self._runtime / "pulse" / "pid").read_text())

    def _environment(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if not k.startswith("PULSE_")} | self.environment

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def virtual_mic(monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMic]:
    """A virtual microphone that is this process's default one, and its child processes'."""
    if reason := missing_parts():
        if os.environ.get("EARMARK_REQUIRE_MIC"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="mic"))
    mic = VirtualMic(folder)
    for name in [name for name in os.environ if name.startswith("PULSE_")]:
        monkeypatch.delenv(name)
    for name, value in mic.environment.items():
        monkeypatch.setenv(name, value)
    try:
        mic.start()
        yield mic
    finally:
        mic.stop()
        shutil.rmtree(folder, ignore_errors=True)
