"""`earmark bench`, what it measures with, and what the live path loads."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from device_app.__main__ import main
from device_app.demo.stream import bundled_clips
from device_app.errors import EarmarkError
from device_app.health.bench import restless
from device_app.health.process_meter import cpu_s, memory_mb
from tests.device_app.tiny_model import write_tiny_model


def test_bench_prints_what_listening_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_model(tmp_path / "model.onnx")
    assert main(["bench", "--model", str(model), "--seconds", "6", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert 0.0 < figures["real_time_factor"] < 1.0
    assert 0.0 < figures["window_ms"] <= figures["window_ms_95"]
    assert 0.0 < figures["cpu_percent"] < 100.0
    assert 1.0 < figures["windows_per_s"] <= 5.0
    assert figures["memory_mb"] == pytest.approx(sum(figures["memory_parts_mb"].values()))
    assert {"data", "onnxruntime", "numpy"} <= set(figures["memory_parts_mb"])


def test_the_benchs_noise_jumps_by_twenty_decibels_every_half_second() -> None:
    steps = restless(3.0, np.random.default_rng(0)).reshape(6, 24_000).std(axis=1)
    np.testing.assert_allclose(20 * np.log10(steps[1:] / steps[:-1]), [20, -20, 20, -20, 20], atol=0.5)


def test_processor_time_is_counted_and_sleep_is_not() -> None:
    before, until = cpu_s([os.getpid()]), time.process_time() + 0.5
    while time.process_time() < until:
        pass
    time.sleep(0.5)
    assert cpu_s([os.getpid()]) - before == pytest.approx(0.5, abs=0.1)


def test_memory_counts_what_was_written_and_shared_files_once() -> None:
    one = memory_mb([os.getpid()])
    held = np.ones(64 << 20, np.uint8)
    assert memory_mb([os.getpid()])["data"] - one["data"] == pytest.approx(64.0, abs=4.0)
    del held
    one, twice = memory_mb([os.getpid()]), memory_mb([os.getpid(), os.getpid()])
    assert twice["numpy"] == pytest.approx(one["numpy"], rel=0.1)
    assert twice["data"] == pytest.approx(2 * one["data"], rel=0.1)
    with pytest.raises(EarmarkError, match="does not tell what process 999999999 costs"):
        cpu_s([999999999])


def test_the_live_path_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    dog = bundled_clips("enrol")["dog_bark"][0]
    assert main(["enrol", "dog", "--from", str(dog), "--profile", str(tmp_path)]) == 0
    code = (
        "import sys; from device_app.__main__ import main;"
        f"main(['listen', '--source', {str(dog)!r}, '--profile', {str(tmp_path)!r}]);"
        "print('\\n' + ' '.join(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.splitlines()[-1].split())
    assert {"onnxruntime", "numpy", "soxr"} <= loaded
    unused = {"sklearn", "scipy", "pandas", "sounddevice", "matplotlib", "torch", "device_app.recordings.take"}
    assert not unused & loaded
