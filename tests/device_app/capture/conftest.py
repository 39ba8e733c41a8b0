"""A microphone that misbehaves on command."""

from pathlib import Path

import pytest

from tests.device_app.capture.harness import Double


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Double:
    """A microphone of our own in place of PortAudio, in the capture processes that the test starts."""
    monkeypatch.setenv("EARMARK_TEST_PORTAUDIO", str(tmp_path / "portaudio.json"))
    monkeypatch.syspath_prepend(Path(__file__).parent / "portaudio_double")
    return Double(tmp_path / "portaudio.json")
