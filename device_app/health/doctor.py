"""``earmark doctor``: whether this machine has what Earmark needs, computes what it should, and hears well."""

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TextIO

import numpy as np

from device_app import __version__
from device_app.capture import MicrophoneSource
from device_app.errors import DeviceError, EarmarkError, ModelFileError
from device_app.model.embedder import load_embedder

GOLDEN_TOLERANCE = 0.03
"""Largest difference of one number of an embedding, of unit length, from what the exporting machine computed.

An int8 model computes the same sums of integers on every processor, but its front-end is in float, where the last
digits depend on the processor; a value at the border between two bytes may then fall to either side.
`make emulate-pi` prints the largest difference between this machine and a Cortex-A72: 0.008 was measured."""
_SAMPLE_S = 3.0
"""Of the microphone."""
_MOST_LOAD = 0.5
"""Seconds of work for a second of audio, beyond which listening would fall behind whenever something else runs."""
_PACKAGES = ("numpy", "onnxruntime", "scikit-learn", "sounddevice", "soundfile", "soxr")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    ok: bool
    found: str
    """In words: what there is, or the sentence that says what to do."""


def examine(model: Path | None, microphone: MicrophoneSource) -> list[Finding]:
    """Make all checks.

    Args:
        model: A model file; None for the shipped one.
        microphone: What is listened to.
    """
    checks: dict[str, Callable[[], str]] = {
        "versions": _versions,
        "model": lambda: _model(model),
        "speed": lambda: _speed(model),
        "microphones": _microphones,
        "sound": lambda: _sound(microphone),
    }
    findings: list[Finding] = []
    for name, check in checks.items():
        try:
            findings.append(Finding(name, True, check()))
        except EarmarkError as err:
            findings.append(Finding(name, False, str(err)))
    return findings


def _versions() -> str:
    parts = [f"earmark {__version__}", f"Python {platform.python_version()}", platform.machine()]
    for package in _PACKAGES:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError as err:
            raise EarmarkError(f"the package {package} is missing: install Earmark again") from err
    return ", ".join(parts)


def _model(path: Path | None) -> str:
    embedder = load_embedder(path)
    metadata, error = embedder.metadata, embedder.golden_error()
    if not error <= GOLDEN_TOLERANCE:  # not a number is an error, too
        raise ModelFileError(
            f"model {metadata.model_id} gives other embeddings here than where it was exported (they differ by "
            f"{error:.3g}, {GOLDEN_TOLERANCE:g} is allowed): upgrade or reinstall onnxruntime"
        )
    return (
        f"{metadata.model_id} ({metadata.quantisation}, {metadata.sample_rate} Hz) computes what it should: "
        f"its golden vectors differ by {error:.2g} at most"
    )


def _microphones() -> str:
    from device_app.device_list import list_devices

    devices = list_devices()
    if not devices:
        return "PortAudio works; there is none to record from"
    names = [f"{device.name} (default)" if device.is_default else device.name for device in devices]
    return ", ".join(names)


def _speed(path: Path | None) -> str:
    from device_app.health.bench import as_fast_as_it_goes, restless

    load, windows_ms = as_fast_as_it_goes(load_embedder(path), restless(5.0, np.random.default_rng(0)))
    about = (
        f"one window takes {np.median(windows_ms):.1f} ms (95 %: {np.quantile(windows_ms, 0.95):.1f} ms), "
        f"a second of audio {1000.0 * load:.0f} ms"
    )
    if load > _MOST_LOAD:
        raise EarmarkError(f"{about}: too slow to keep up; close other programs, or cool and power this machine better")
    return about + "; `earmark bench` measures memory and CPU as well"


def _sound(microphone: MicrophoneSource) -> str:
    from device_app.device_list import find_device, list_devices
    from device_app.health.microphone_check import judge, take_sample

    if microphone.device is None and not list_devices():
        return "not looked at: there is no microphone"
    name = find_device(microphone.device).name
    try:
        return f"{name}: {judge(take_sample(microphone, _SAMPLE_S))}"
    except DeviceError as err:
        raise DeviceError(f"{name}: {err}") from err


def write_findings(findings: list[Finding], out: TextIO, *, as_json: bool) -> None:
    """One line each."""
    for finding in findings:
        if as_json:
            out.write(json.dumps(asdict(finding), ensure_ascii=False) + "\n")
        else:
            out.write(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.check}: {finding.found}\n")


def doctor(model: Path | None, microphone: MicrophoneSource, *, as_json: bool) -> int:
    """Examine this machine; findings to stdout. Returns the exit status: 1 if anything is amiss."""
    findings = examine(model, microphone)
    write_findings(findings, sys.stdout, as_json=as_json)
    return 0 if all(finding.ok for finding in findings) else 1
