import numpy as np
import pytest

from device_app.demo.command import Tally, judge
from device_app.demo.stream import Occurrence
from device_app.listening.sound_event import SoundEvent


def event(sound: str, fired_s: float) -> SoundEvent:
    return SoundEvent(
        phase="start",
        id="0" * 32,
        sound=sound,
        start_s=fired_s - 1,
        fired_s=fired_s,
        last_s=fired_s,
        score=1.0,
        runner_up=None,
        level_dbfs=-30.0,
        embeddings=np.zeros((0, 0), np.float32),
    )


OCCURRENCES = (
    Occurrence("bell", True, 10.0, 12.0, 20.0, "a"),
    Occurrence("drill", False, 20.0, 25.0, 20.0, "b"),
    Occurrence("dog", True, 30.0, 31.0, 20.0, "c"),
)


def test_an_event_while_its_sound_lasts_or_shortly_after_is_heard() -> None:
    outcome = judge([event("bell", 10.6), event("dog", 32.4)], OCCURRENCES, 3600.0)
    assert outcome.sounds == {"bell": Tally(heard=1), "dog": Tally(heard=1)}
    assert outcome.delays_s == pytest.approx((0.6, 2.4))
    assert (outcome.heard_share, outcome.false_per_hour) == (1.0, 0.0)


def test_a_second_event_for_one_occurrence_is_neither_heard_twice_nor_false() -> None:
    outcome = judge([event("bell", 10.6), event("bell", 11.9)], OCCURRENCES, 3600.0)
    assert outcome.sounds["bell"] == Tally(heard=1)
    assert outcome.delays_s == pytest.approx((0.6,))


def test_events_of_the_wrong_name_or_the_wrong_time_are_false_and_their_cause_is_named() -> None:
    outcome = judge([event("dog", 11.0), event("bell", 21.0), event("dog", 50.0)], OCCURRENCES, 1800.0)
    assert outcome.sounds == {"bell": Tally(missed=1, false=1), "dog": Tally(missed=1, false=2)}
    assert outcome.false_causes == {"background": 1, "bell": 1, "drill": 1}
    assert (outcome.heard_share, outcome.false_per_hour) == (0.0, 6.0)
