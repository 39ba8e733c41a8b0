"""``earmark bench``: what listening costs on this machine."""

import json
import os
import sys
import tempfile
import time
import wave
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from device_app.arrays import FloatArray
from device_app.capture import Block, Capture, FileSource
from device_app.enrolment.head import Head
from device_app.health.process_meter import cpu_s, memory_mb
from device_app.listening.command import LIVE_BLOCK_S
from device_app.listening.recogniser import Recogniser
from device_app.model.embedder import Embedder, load_embedder

_NATIVE_RATE = 48000
_N_SOUNDS = 5
_FAST_S = 20.0
"""Audio that is taken as fast as possible, seconds."""
_STEP_S = 0.5


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured."""

    model_id: str
    load_s: float
    """Seconds to load the model."""
    real_time_factor: float
    """Seconds of work for each second of audio, taken as fast as it goes: everything behind the capture."""
    window_ms: float
    """Median time of one window through the network and the head."""
    window_ms_95: float
    """Of 95 % of the windows, at most."""
    cpu_percent: float
    """Of one core, while listening in real time, the capture process included."""
    memory_mb: float
    """Of both processes while listening, as if nothing else ran."""
    memory_parts_mb: dict[str, float]
    windows_per_s: float
    """Looked at, while listening."""


def restless(seconds: float, rng: np.random.Generator) -> FloatArray:
    """(n,) float32 noise at 48 kHz whose level jumps by 20 dB twice a second, so that every window is looked at."""
    n_samples = int(seconds * _NATIVE_RATE)
    loud = np.arange(n_samples) // int(_STEP_S * _NATIVE_RATE) % 2 == 1
    return np.clip(rng.standard_normal(n_samples) * np.where(loud, 0.03, 0.003), -1.0, 1.0).astype(np.float32)


def untaught_head(embedder: Embedder) -> Head:
    """A head of the usual size that never recognises anything."""
    sounds = tuple(f"sound {i}" for i in range(_N_SOUNDS))
    zeros = np.zeros((_N_SOUNDS, embedder.size), np.float32)
    return Head(
        sounds=sounds,
        weights=zeros,
        bias=zeros[:, 0] - 9.0,
        directions=zeros,
        offsets=zeros[:, 0],
        model_id=embedder.metadata.model_id,
        recordings=(),
    )


def measure(model: Path | None, seconds: float) -> Figures:
    """Measure.

    Args:
        model: A model file; None for the shipped one.
        seconds: Of listening in real time.
    """
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    embedder = load_embedder(model)
    load_s = time.perf_counter() - began
    real_time_factor, windows_ms = as_fast_as_it_goes(embedder, restless(_FAST_S, rng))
    cpu_percent, memory, windows_per_s = _in_real_time(embedder, restless(seconds, rng))
    return Figures(
        model_id=embedder.metadata.model_id,
        load_s=load_s,
        real_time_factor=real_time_factor,
        window_ms=float(np.median(windows_ms)),
        window_ms_95=float(np.quantile(windows_ms, 0.95)),
        cpu_percent=cpu_percent,
        memory_mb=sum(memory.values()),
        memory_parts_mb=memory,
        windows_per_s=windows_per_s,
    )


def as_fast_as_it_goes(embedder: Embedder, waveform: FloatArray) -> tuple[float, list[float]]:
    """Seconds of work for a second of audio, and milliseconds of each window."""
    recogniser = Recogniser(embedder, untaught_head(embedder))
    n_block = _NATIVE_RATE // 10
    took_ms = []
    began = time.perf_counter()
    for start in range(0, len(waveform), n_block):
        before, n_before = time.perf_counter(), recogniser.counts.n_embedded
        recogniser.push(Block(waveform[start : start + n_block], _NATIVE_RATE, start, 0, 0.0))
        if recogniser.counts.n_embedded > n_before:
            took_ms.append(1000.0 * (time.perf_counter() - before))
    return (time.perf_counter() - began) * _NATIVE_RATE / len(waveform), took_ms


def _in_real_time(embedder: Embedder, waveform: FloatArray) -> tuple[float, dict[str, float], float]:
    """Percent of a core, memory by what it holds, and windows a second, through the capture process."""
    recogniser = Recogniser(embedder, untaught_head(embedder), live=True)
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        path = Path(folder) / "restless.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, _NATIVE_RATE, 0, "NONE", ""))
            file.writeframes((waveform * 32767.0).astype("<i2").tobytes())
        with Capture(FileSource(path, realtime=True), block_s=LIVE_BLOCK_S) as capture:
            _listen(capture, recogniser, 2.0)  # until all that is loaded once has been
            assert capture.process_id is not None
            pids = [os.getpid(), capture.process_id]
            began, cpu_before, n_before = time.perf_counter(), cpu_s(pids), recogniser.counts.n_embedded
            _listen(capture, recogniser, len(waveform) / _NATIVE_RATE - 3.0)
            took_s = time.perf_counter() - began
            cpu_percent = 100.0 * (cpu_s(pids) - cpu_before) / took_s
            return cpu_percent, memory_mb(pids), (recogniser.counts.n_embedded - n_before) / took_s


def _listen(capture: Capture, recogniser: Recogniser, seconds: float) -> None:
    until = time.perf_counter() + seconds
    while (left := until - time.perf_counter()) > 0:
        for item in capture.read(left):
            if isinstance(item, Block):
                recogniser.push(item)


def bench(model: Path | None, seconds: float, *, as_json: bool) -> int:
    """Measure and print. Returns the exit status.

    Raises:
        ModelFileError: If the model cannot be used.
        EarmarkError: If this system does not tell what processes cost.
    """
    if not as_json:
        print(f"measuring for {_FAST_S * 0.1 + seconds:.0f} s; leave the machine alone meanwhile", file=sys.stderr)
    figures = measure(model, seconds)
    if as_json:
        print(json.dumps(asdict(figures)))
        return 0
    parts = ", ".join(f"{name} {mb:.0f}" for name, mb in figures.memory_parts_mb.items())
    print(
        f"model {figures.model_id}, loaded in {figures.load_s:.2f} s\n"
        f"real-time factor   {figures.real_time_factor:.4f}: an hour of audio takes "
        f"{figures.real_time_factor * 3600.0:.0f} s\n"
        f"one window         {figures.window_ms:.1f} ms; 95 % take less than {figures.window_ms_95:.1f} ms\n"
        f"CPU, listening     {figures.cpu_percent:.1f} % of one core at {figures.windows_per_s:.1f} windows a second, "
        "capture included\n"
        f"memory, listening  {figures.memory_mb:.0f} MB, capture included ({parts})"
    )
    return 0
