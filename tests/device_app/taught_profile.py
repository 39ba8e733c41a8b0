"""A profile of two sounds, taught once with the shipped model, a fresh copy of it for each test, and a history."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from device_app.audio_file import read_audio, read_native
from device_app.demo.stream import bundled_clips
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording
from device_app.errors import EarmarkError
from device_app.history.heard_event import HeardEvent
from device_app.model.embedder import Embedder, load_embedder

DOGS = bundled_clips("enrol")["dog_bark"]
ROOSTERS = bundled_clips("enrol")["rooster"]
CLOCKS = bundled_clips("untaught")["clock_tick"]


def recordings(paths: Sequence[Path]) -> list[NewRecording]:
    return [NewRecording(*read_native(path), path.name) for path in paths]


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return load_embedder()


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    folder = tmp_path_factory.mktemp("taught") / "profile"
    profile = Profile(folder)
    with profile.lock():
        profile.add_groups({"dog": recordings(DOGS[:3]), "rooster": recordings(ROOSTERS[:3])}, embedder)
    return folder


@pytest.fixture
def profile(taught: Path, tmp_path: Path) -> Profile:
    return Profile(Path(shutil.copytree(taught, tmp_path / "profile")))


def heard(embedder: Embedder, path: Path, sound: str, event_id: str = "abc123") -> HeardEvent:
    """An event of the loudest second of a clip."""
    waveform = read_audio(path, embedder.metadata.sample_rate)
    clip = embedder.metadata.clip_samples
    windows = np.stack([waveform[start : start + clip] for start in range(0, len(waveform) - clip + 1, clip // 4)])
    loudest = np.argsort(np.square(windows).sum(axis=1))[-3:]
    return HeardEvent(
        id=event_id,
        sound=sound,
        time="2026-01-01T00:00:00+00:00",
        score=1.0,
        model_id=embedder.metadata.model_id,
        embeddings=embedder.embed(windows[loudest]),
    )


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> list[HeardEvent]:
    """What the double of the history holds, the newest first."""
    events: list[HeardEvent] = []

    class History:
        def __init__(self, path: Path) -> None:
            pass

        def event(self, event_id: str) -> HeardEvent:
            for event in events:
                if event.id == event_id:
                    return event
            raise EarmarkError(f"there is no event {event_id}")

        def last(self, n: int) -> list[HeardEvent]:
            return events[:n]

    module = ModuleType("device_app.history.history")
    module.__dict__.update(History=History, default_history_path=lambda: Path("history.sqlite3"))
    monkeypatch.setitem(sys.modules, "device_app.history.history", module)
    return events
