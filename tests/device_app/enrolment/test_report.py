import io
import json

import numpy as np
import pytest
import rich.console

from device_app.arrays import FloatArray
from device_app.enrolment.head import Examples, Fit, Head
from device_app.enrolment.report import NOTHING, Report, _bound_per_hour, clopper_pearson, heard_as, make_report
from device_app.enrolment.report_text import as_json, print_report, rate, sentence
from device_app.enrolment.threshold import EVENTS_A_WINDOW, Threshold

SOUNDS = ("bell", "dog")
YES, NO = 1.5, -1.0


def report(answers: list[tuple[str, float, float]], *, has_room: bool = True) -> Report:
    """Of recordings of four windows that are given as (sound, evidence for bell, evidence for dog)."""
    examples = [Examples(sound, str(i), np.zeros((24, 2), np.float32)) for i, (sound, _, _) in enumerate(answers)]
    held_out = np.repeat(np.array([scores for _, *scores in answers], np.float32), 4, axis=0)
    empty = np.zeros((2, 2), np.float32)
    fit = Fit(
        Head(SOUNDS, empty, empty[0], empty, empty[0], "m", ()),
        np.array([[0.5, 0.5], [0.9, 0.1]]),
        held_out,
        np.repeat(np.arange(len(answers)), 4),
        (Threshold(1.0, 0.5, 0, 2000), Threshold(1.25, 0.25, 2, 2000)),
    )
    return make_report(fit, examples, ("invariant", "sensitive"), 1.0, has_room=has_room)


BELLS = [("bell", YES, NO)] * 5


@pytest.mark.parametrize(
    ("n_heard", "n_judged", "low", "high"),
    [(5, 5, 0.478, 1.0), (10, 10, 0.692, 1.0), (0, 5, 0.0, 0.522), (3, 5, 0.147, 0.947), (0, 0, 0.0, 1.0)],
)
def test_the_exact_interval_is_that_of_the_tables(n_heard: int, n_judged: int, low: float, high: float) -> None:
    assert clopper_pearson(n_heard, n_judged) == pytest.approx((low, high), abs=1e-3)


def windows(*rows: tuple[float, float]) -> FloatArray:
    return np.array(rows, np.float32)


def test_what_a_recording_is_heard_as_is_what_the_detector_says() -> None:
    assert heard_as(windows((YES, NO), (YES, NO)), SOUNDS, 1.0) == ["bell"]
    assert heard_as(windows((YES, NO), (NO, NO)), SOUNDS, 1.0) == []
    assert heard_as(windows((NO, YES), (NO, YES), *[(YES, NO)] * 4), SOUNDS, 1.0) == ["dog", "bell"]


def test_five_of_five_still_only_means_at_least_48_percent() -> None:
    bell = report([*BELLS, ("dog", NO, YES), ("dog", NO, YES)]).sounds[0]
    assert (bell.n_heard, bell.n_judged) == (5, 5)
    assert "5 of 5 heard when only the others were taught, which still only means at least 48% of new ones" in sentence(
        bell
    )


def test_none_of_five_says_what_share_it_may_be_at_most() -> None:
    bell = report([*[("bell", NO, NO)] * 5, ("dog", NO, YES), ("dog", NO, YES)]).sounds[0]
    assert "0 of 5 heard when only the others were taught, which means at most 52% of new ones" in sentence(bell)


def test_what_was_not_heard_is_counted_for_what_it_was_taken_for() -> None:
    answers = [*BELLS, ("dog", YES, NO), ("dog", YES, NO), ("dog", NO, NO), ("dog", NO, YES)]
    made = report(answers)
    dog = made.sounds[1]
    assert (dog.n_heard, dog.n_judged, dict(dog.taken_for)) == (1, 4, {"bell": 2, NOTHING: 1})
    assert "; 2 taken for bell, 1 not heard at all." in sentence(dog)
    assert made.next_recording.startswith("another recording of 'dog', which was taken for 'bell'")


def test_false_alarms_have_the_poisson_bound_of_what_was_counted() -> None:
    """No window of 2,000 bounds their share by 2.996 / 2,000 at 95 %, two of them by 6.296 / 2,000."""
    bell, dog = report([*BELLS, ("dog", NO, YES), ("dog", NO, YES)]).sounds
    an_hour = EVENTS_A_WINDOW * 14400 / 2000
    assert bell.false_alarms_per_hour_at_most == pytest.approx(2.996 * an_hour, rel=1e-3)
    assert dog.false_alarms_per_hour_at_most == pytest.approx(6.296 * an_hour, rel=1e-3)
    assert (bell.false_alarms_per_hour, dog.false_alarms_per_hour) == (0.5, 0.25)
    assert (bell.threshold, dog.threshold) == (1.0, 1.25)


@pytest.mark.parametrize(
    ("answers", "has_room", "advice"),
    [
        ([*BELLS, ("dog", NO, np.nan)], True, "a second recording of 'dog'"),
        ([*BELLS, *[("dog", NO, YES)] * 4, ("dog", NO, NO)], True, "1 of 5 were not recognised from the rest"),
        ([*BELLS, *[("dog", NO, YES)] * 6], False, "a few minutes of your room"),
        ([*BELLS, *[("dog", NO, YES)] * 6], True, "another recording of 'bell', from another moment"),
    ],
)
def test_the_weakest_point_decides_what_to_record_next(
    answers: list[tuple[str, float, float]], has_room: bool, advice: str
) -> None:
    assert advice in report(answers, has_room=has_room).next_recording


def test_a_report_is_printed_for_people_and_for_programs() -> None:
    made = report([*BELLS, ("dog", NO, np.nan)], has_room=False)
    console = rich.console.Console(file=io.StringIO(), width=100)
    print_report(made, console)
    text = console.file.getvalue()
    assert "12.0 a day" in text
    assert "not checked" in text
    assert "What would help most: a second recording of 'dog'" in text
    lines = [json.loads(line) for line in as_json(made).splitlines()]
    assert [line.get("sound") for line in lines] == ["bell", "dog", None]
    assert lines[0]["recall_low"] == pytest.approx(0.478, abs=1e-3)
    assert lines[1]["head_weights"] == {"invariant": 0.9, "sensitive": 0.1}
    assert lines[1]["in_words"] == "what it is counts, at any pitch and tempo; its pitch may vary"


@pytest.mark.parametrize(
    ("per_hour", "text"),
    [(2.0, "2.0 an hour"), (0.5, "12.0 a day"), (1 / 168, "1.0 a week"), (1 / 8760, "1.0 a year")],
)
def test_a_rate_is_said_in_the_unit_that_gives_a_number_above_one(per_hour: float, text: str) -> None:
    assert rate(per_hour) == text


def test_what_the_background_can_vouch_for_is_never_less_than_what_is_expected() -> None:
    assert _bound_per_hour(Threshold(1.0, 50.0, 0, 200_000)) == 50.0
