"""``earmark doctor`` proves the model on this machine, and says what to do where it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest

from device_app import device_list
from device_app.__main__ import main
from device_app.capture import MicrophoneSource
from device_app.device_list import InputDevice
from device_app.errors import DeviceError
from device_app.health import bench, microphone_check
from device_app.health.doctor import examine
from device_app.health.microphone_check import Sample
from device_app.model.model_file import GoldenVectors, with_metadata
from tests.device_app.tiny_model import parts, tiny_graph, write_tiny_model

MICROPHONE = InputDevice(
    name="usb:0d8c:013c",
    description="USB PnP",
    host_api="ALSA",
    n_channels=1,
    sample_rate=48_000,
    is_default=True,
    index=0,
)


ROOM = (np.random.default_rng(0).standard_normal(3 * 48_000) * 0.003).astype(np.float32)
T = np.arange(3 * 48_000) / 48_000


@pytest.fixture(autouse=True)
def microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_list, "list_devices", lambda: [MICROPHONE])
    monkeypatch.setattr(microphone_check, "take_sample", lambda *_: Sample(ROOM, 48_000, 0))


def test_a_sound_machine_is_ok_in_five_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    versions, model, speed, microphones, sound = capsys.readouterr().out.splitlines()
    assert versions.startswith("ok    versions: earmark ")
    assert "onnxruntime" in versions
    assert model.startswith("ok    model: ")
    assert "computes what it should" in model
    assert "a second of audio" in speed
    assert microphones == "ok    microphones: usb:0d8c:013c (default)"
    assert sound.startswith("ok    sound: usb:0d8c:013c: 48000 Hz, level -50 dBFS, peak ")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["check"], line["ok"]) for line in lines] == [
        ("versions", True),
        ("model", True),
        ("speed", True),
        ("microphones", True),
        ("sound", True),
    ]


@pytest.mark.parametrize("wrong", [0.1, np.nan])
def test_a_model_that_computes_something_else_here_fails(
    tmp_path: Path, wrong: float, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = tiny_graph()
    metadata, golden, bank = parts(graph)
    embeddings = {name: values.copy() for name, values in golden.embeddings.items()}
    embeddings["how"][1] += wrong
    path = tmp_path / "model.onnx"
    path.write_bytes(with_metadata(graph, metadata, GoldenVectors(golden.waveform, embeddings), bank))
    assert main(["doctor", "--model", str(path)]) == 1
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(f"FAIL  model: model {metadata.model_id} gives other embeddings here")
    assert "reinstall onnxruntime" in line


def test_every_check_is_made_even_if_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_portaudio() -> list[InputDevice]:
        raise DeviceError("the PortAudio library is missing: install libportaudio2")

    monkeypatch.setattr(device_list, "list_devices", no_portaudio)
    findings = examine(tmp_path / "none.onnx", MicrophoneSource())
    assert [finding.ok for finding in findings] == [True, False, False, False, False]
    assert "cannot read the model" in findings[1].found
    assert findings[3].found == "the PortAudio library is missing: install libportaudio2"


def test_another_model_can_be_proven_and_no_microphone_is_not_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_list, "list_devices", list)
    findings = examine(write_tiny_model(tmp_path / "model.onnx"), MicrophoneSource())
    assert all(finding.ok for finding in findings)
    assert "none to record from" in findings[3].found
    assert "there is no microphone" in findings[4].found


def hum(level: float) -> np.ndarray:
    return (level * sum(np.sin(2 * np.pi * 50.0 * k * T) / k for k in (1, 2, 3, 5))).astype(np.float32)


@pytest.mark.parametrize(
    ("sample", "advice"),
    [
        (Sample(0 * ROOM, 48_000, 0), "nothing but zeros: unmute it"),
        (Sample(ROOM / 1000, 48_000, 0), "almost silent (-110 dBFS): turn its capture level up"),
        (Sample(np.clip(ROOM * 1000, -1, 1), 48_000, 0), "cut off at full scale: turn its capture level down"),
        (Sample(ROOM + hum(0.02), 48_000, 0), "it hums at 50 Hz and multiples: move it"),
        (Sample(ROOM, 48_000, 24_000), "0.50 s were lost within 3 s: close what else"),
    ],
)
def test_each_fault_of_a_microphones_sound_is_named_with_what_to_do(
    sample: Sample, advice: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(microphone_check, "take_sample", lambda *_: sample)
    assert main(["doctor"]) == 1
    line = capsys.readouterr().out.splitlines()[4]
    assert line.startswith("FAIL  sound: usb:0d8c:013c: ")
    assert advice in line


def test_music_low_voices_and_a_faint_hum_are_no_hum() -> None:
    chord = sum(np.sin(2 * np.pi * f * T) for f in (110.0, 138.6, 164.8)) * 0.1
    for sound in (chord, hum(1e-4) + ROOM, ROOM):
        assert microphone_check.hum_hz(sound.astype(np.float32), 48_000) is None
    assert microphone_check.hum_hz((np.sin(2 * np.pi * 60.0 * T) * 0.1).astype(np.float32), 48_000) == 60.0


def test_a_machine_that_is_too_slow_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "as_fast_as_it_goes", lambda *_: (0.8, [200.0]))
    speed = examine(None, MicrophoneSource())[2]
    assert not speed.ok
    assert speed.found.startswith("one window takes 200.0 ms")
    assert "too slow to keep up" in speed.found
