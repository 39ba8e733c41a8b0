"""What is interrupted: each scene is what one command does to a profile. They run in processes of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from device_app.__main__ import main
from device_app.capture import FileSource
from device_app.corrections.corrections import mark_wrong, undo
from device_app.enrolment import command
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording
from device_app.errors import EarmarkError
from device_app.history.heard_event import HeardEvent
from device_app.model.embedder import load_embedder
from device_app.recordings.take import Take, Takes
from device_app.room.room import Room
from tests.device_app.small_profile import RATE, burst


def earmark(*arguments: str) -> int:
    return main(arguments)


def record(profile: str, model: str, acknowledged: str) -> int:
    """Three takes from the microphone; the number of each is written elsewhere as soon as the person is told "kept"."""

    def record_takes(source: object, takes: Takes, **options: Any) -> None:
        for number in range(3 - options["n_takes"], 3):  # those that are left of the three
            waveform = burst(10 + number)
            take = Take(waveform, RATE, 1e9 + number, "a microphone", 0, True, waveform[:0])
            assert not any(finding.useless for finding in takes.judge(take))
            takes.keep(take)
            with Path(acknowledged).open("a") as file:
                file.write(f"{take_id(take)}\n")

    command.record_takes = record_takes  # type: ignore[assignment]
    into = command.Enrolment(profile_path=Path(profile), model_path=Path(model), by_hand={}, as_json=False)
    return _sentence(
        lambda: command.enrol_microphone(
            "bell", into, source=FileSource(Path("x")), n_takes=3, take_s=1.0, afresh=False
        )
    )


def take_id(take: Take) -> str:
    return NewRecording(take.waveform, take.sample_rate, "").id


def correct(profile: str, model: str) -> int:
    """Say that an event was wrong."""

    def change() -> int:
        embedder = load_embedder(Path(model))
        rows = np.random.default_rng(3).standard_normal((3, embedder.size)).astype(np.float32)
        event = HeardEvent(
            id="e1",
            sound="dog",
            time="",
            score=1.0,
            model_id=embedder.metadata.model_id,
            embeddings=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        )
        opened = Profile(Path(profile))
        with opened.lock():
            if opened.index.active_corrections:
                undo(opened, embedder)
            else:
                mark_wrong(opened, event, embedder)
        return 0

    return _sentence(change)


def hear_room(profile: str, model: str) -> int:
    """Take note of a few windows of the room."""

    def change() -> int:
        embedder = load_embedder(Path(model))
        room = Room(Path(profile), embedder.metadata.model_id, np.random.default_rng(0))
        for row in embedder.background():
            room.offer(row)
        room.save()
        return 0

    return _sentence(change)


def _sentence(change: Callable[[], int]) -> int:
    """As ``earmark`` itself does."""
    try:
        return change()
    except EarmarkError as err:
        print(f"error: {err}")
        return 1
