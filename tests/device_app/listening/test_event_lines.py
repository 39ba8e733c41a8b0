import json
from datetime import UTC, datetime
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_app.capture import Notice
from device_app.listening.events import encode, sound_line, source_line
from device_app.listening.sound_event import Phase, SoundEvent

SCHEMA = json.loads((files("device_app") / "data" / "event.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())

OF_A_SOUND = {
    "schema": int,
    "type": str,
    "id": str,
    "time": str,
    "sound": str,
    "start_s": float,
    "fired_s": float,
    "duration_s": float,
    "score": float,
    "runner_up": (str, type(None)),
    "level_dbfs": float,
}
"""The contract: programs of other people rely on these names. Add to it; never rename, never remove."""
OF_AN_END = {**OF_A_SOUND, "end_s": float, "clip": (str, type(None))}
OF_A_SOURCE = {
    "schema": int,
    "type": str,
    "id": str,
    "time": str,
    "state": str,
    "reason": (str, type(None)),
    "message": str,
}


def event(phase: Phase, **more: object) -> SoundEvent:
    entries = {
        "phase": phase,
        "id": "0123456789abcdef" * 2,
        "sound": "bell",
        "start_s": 1.25,
        "fired_s": 2.5,
        "last_s": 3.0,
        "score": 4.5678,
        "runner_up": "dog",
        "level_dbfs": -31.23,
        "embeddings": np.zeros((2, 4), np.float32),
        **more,
    }
    return SoundEvent(**entries)  # type: ignore[arg-type]


START = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "contract"),
    [
        (sound_line(event("start"), START), OF_A_SOUND),
        (sound_line(event("update"), START), OF_A_SOUND),
        (sound_line(event("end"), START, "/clips/a.flac"), OF_AN_END),
        (source_line(Notice("lost", "the microphone is gone", 1.0, "unplugged")), OF_A_SOURCE),
    ],
    ids=["start", "update", "end", "source"],
)
def test_the_names_of_schema_1_are_all_there_and_of_their_types(
    line: dict[str, object], contract: dict[str, type | tuple[type, ...]]
) -> None:
    decoded = json.loads(encode(line))
    assert decoded["schema"] == 1
    for name, kind in contract.items():
        assert isinstance(decoded[name], kind), name
    VALIDATOR.validate(decoded)
    assert set(decoded) <= set(SCHEMA["properties"]), "an entry is added: describe it in event.schema.json"


def test_the_values_are_those_of_the_event() -> None:
    assert sound_line(event("end"), START, "/clips/a.flac") == {
        "schema": 1,
        "type": "end",
        "id": "0123456789abcdef0123456789abcdef",
        "time": "2026-01-02T03:04:05.678+00:00",
        "sound": "bell",
        "start_s": 1.25,
        "fired_s": 2.5,
        "duration_s": 1.75,
        "score": 4.568,
        "runner_up": "dog",
        "level_dbfs": -31.2,
        "end_s": 3.0,
        "clip": "/clips/a.flac",
    }


@pytest.mark.parametrize("missing", ["id", "sound", "score", "end_s", "clip"])
def test_the_schema_refuses_a_line_that_lacks_an_entry(missing: str) -> None:
    line = sound_line(event("end"), START)
    del line[missing]
    with pytest.raises(jsonschema.ValidationError, match=missing):
        VALIDATOR.validate(line)


def test_the_schema_bears_entries_and_types_that_come_later() -> None:
    VALIDATOR.validate({**sound_line(event("start"), START), "loudness": 3})
    VALIDATOR.validate({"schema": 1, "type": "summary", "id": "0" * 32, "time": "2026-01-02T03:04:05.678+00:00"})


@given(
    sound=st.text(min_size=1, max_size=64),
    times=st.tuples(st.floats(0, 1e7), st.floats(0, 100), st.floats(0, 1000)),
    score=st.floats(-50, 50),
    phase=st.sampled_from(["start", "update", "end"]),
)
def test_whatever_is_heard_fits_the_schema_on_one_line(
    sound: str, times: tuple[float, float, float], score: float, phase: Phase
) -> None:
    start_s, fired_s, last_s = times[0], times[0] + times[1], times[0] + times[2]
    line = encode(
        sound_line(event(phase, sound=sound, start_s=start_s, fired_s=fired_s, last_s=last_s, score=score), START)
    )
    assert "\n" not in line
    VALIDATOR.validate(json.loads(line))
