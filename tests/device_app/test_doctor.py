"""``earmark doctor`` proves the model on this machine, and says what to do where it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest

from device_app import device_list
from device_app.__main__ import main
from device_app.device_list import InputDevice
from device_app.doctor import examine
from device_app.errors import DeviceError
from device_app.model_file import GoldenVectors, with_metadata
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


@pytest.fixture(autouse=True)
def microphone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_list, "list_devices", lambda: [MICROPHONE])


def test_a_sound_machine_is_ok_in_three_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    versions, model, microphones = capsys.readouterr().out.splitlines()
    assert versions.startswith("ok    versions: earmark ")
    assert "onnxruntime" in versions
    assert model.startswith("ok    model: ")
    assert "computes what it should" in model
    assert microphones == "ok    microphones: usb:0d8c:013c (default)"


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["check"], line["ok"]) for line in lines] == [
        ("versions", True),
        ("model", True),
        ("microphones", True),
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
    findings = examine(tmp_path / "none.onnx")
    assert [finding.ok for finding in findings] == [True, False, False]
    assert "cannot read the model" in findings[1].found
    assert findings[2].found == "the PortAudio library is missing: install libportaudio2"


def test_another_model_can_be_proven_and_no_microphone_is_not_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_list, "list_devices", list)
    findings = examine(write_tiny_model(tmp_path / "model.onnx"))
    assert all(finding.ok for finding in findings)
    assert "none to record from" in findings[2].found
