import numpy as np
import pytest

from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import EarmarkError
from device_app.listening.detector import MOST_KEPT_WINDOWS, DetectionConfig, Detector
from device_app.listening.sound_event import SoundEvent

CONFIG = DetectionConfig(hop_s=0.25, fire_at=2.0, release_s=1.0, refractory_s=1.0)


def run(scores: list[list[float] | None], sounds: tuple[str, ...] = ("bell", "dog")) -> list[SoundEvent]:
    detector = Detector(sounds, 1.0, CONFIG)
    out: list[SoundEvent] = []
    for i, row in enumerate(scores):
        out += detector.push(None if row is None else np.array(row, np.float32), i * 0.25, -30.0)
    return out + detector.finish(len(scores) * 0.25 + 0.75)


QUIET = [-3.0, -3.0]


def test_one_window_that_is_sure_fires_at_once() -> None:
    start, end = run([QUIET, [2.0, -1.0], QUIET, QUIET, QUIET, QUIET, QUIET])
    assert (start.sound, start.start_s, start.fired_s, start.end_s) == ("bell", 0.25, 1.25, None)
    assert (start.runner_up, start.level_dbfs) == ("dog", -30.0)
    assert (end.end_s, end.score) == (1.25, 2.0)


def test_a_doubtful_window_alone_never_fires() -> None:
    assert run([QUIET, [1.9, -3.0], QUIET, QUIET, [1.9, -3.0], QUIET]) == []


def test_doubtful_windows_need_more_of_them() -> None:
    fired = [event.fired_s for event in run([[0.5, -3.0]] * 6) if event.phase == "start"]
    assert fired == [3 * 0.25 + 1.0]  # the fourth window brings 4 * 0.5 = 2.0


def test_a_window_counts_by_its_weight_for_a_sound_and_against_it() -> None:
    detector = Detector(("bell",), 1.0, CONFIG)
    evidence = []
    for score, weight in ((1.5, 1.0), (0.8, 0.5), (-2.0, 0.5), (-4.0, 1.0)):
        assert detector.push(np.array([score], np.float32), 0.0, -30.0, weight=weight) == []
        evidence.append(float(detector.evidence[0]))
    assert evidence == pytest.approx([1.5, 1.9, 0.9, 0.0])


def test_several_sounds_may_last_at_once_each_with_its_own_event() -> None:
    events = run([[3.0, -3.0]] * 4 + [[3.0, 2.5]] * 8 + [[-3.0, 2.5]] * 8)
    assert [(event.sound, event.phase, event.last_s) for event in events if event.phase != "update"] == [
        ("bell", "start", 1.0),
        ("dog", "start", 2.0),
        ("bell", "end", 3.75),
        ("dog", "end", 5.75),
    ]
    starts = [event for event in events if event.phase == "start"]
    assert [event.runner_up for event in starts] == ["dog", "bell"]


def test_a_sound_that_goes_on_is_one_event_and_ends_a_second_after_it_stops() -> None:
    events = run([[3.0, -3.0]] * 20 + [QUIET] * 8)
    assert [event.phase for event in events] == ["start", "update", "update", "update", "update", "end"]
    assert events[-1].end_s == pytest.approx(19 * 0.25 + 1.0)
    assert len({event.id for event in events}) == 1


def test_an_event_that_lasts_is_updated_every_second_with_its_best_score_and_loudest_level() -> None:
    events = run([[3.0, -3.0]] * 4 + [[7.0, -3.0]] + [[3.0, -3.0]] * 3)
    assert [(event.phase, event.last_s, event.score) for event in events] == [
        ("start", 1.0, 3.0),
        ("update", 2.0, 7.0),
        ("end", 2.75, 7.0),
    ]
    assert [event.end_s for event in events] == [None, None, 2.75]
    assert [event.duration_s for event in events] == [1.0, 2.0, 2.75]


def test_an_event_carries_the_embeddings_of_the_windows_that_spoke_for_it_and_not_more_than_a_few() -> None:
    detector = Detector(("bell",), 1.0, CONFIG)
    scores = [-3.0, 0.1, -3.0, 3.0, 3.0] + [3.0] * 30  # the second window's evidence was lost again
    out: list[SoundEvent] = []
    for i, score in enumerate(scores):
        out += detector.push(np.array([score], np.float32), i * 0.25, -30.0, np.full(4, i, np.float32))
    start, *_, last = out
    np.testing.assert_array_equal(start.embeddings, [[3] * 4])
    assert start.runner_up is None
    assert last.embeddings.shape == (MOST_KEPT_WINDOWS, 4)
    np.testing.assert_array_equal(last.embeddings[:, 0], np.arange(3, 3 + MOST_KEPT_WINDOWS))


def test_a_sound_has_a_sensitivity_and_a_refractory_time_of_its_own() -> None:
    scores = [[-0.5]] * 4 + [[-9.0]] * 8 + [[-0.5]] * 4
    own = {"bell": SoundSettings(sensitivity=2.0, refractory_s=60.0)}
    assert starts(scores, None) == []
    assert starts(scores, {"bell": SoundSettings(sensitivity=2.0)}) == [1.25, 4.25]
    assert starts(scores, own) == [1.25]


def starts(scores: list[list[float]], settings: dict[str, SoundSettings] | None) -> list[float]:
    detector = Detector(("bell",), 1.0, CONFIG, settings)
    rows = [detector.push(np.array(row, np.float32), i * 0.25, -30.0) for i, row in enumerate(scores)]
    return [event.fired_s for row in rows for event in row if event.phase == "start"]


def test_after_its_end_a_sound_is_refractory_and_then_may_fire_again() -> None:
    bell = [[3.0, -3.0]] * 4
    assert len([event for event in run(bell + [QUIET] * 4 + bell[:3] + [QUIET] * 8) if event.phase == "start"]) == 1
    assert len([event for event in run(bell + [QUIET] * 12 + bell) if event.phase == "start"]) == 2


def test_silence_ends_an_event_like_any_other_window() -> None:
    events = run([[3.0, -3.0]] * 4 + [None] * 8)
    assert [event.end_s for event in events] == [None, pytest.approx(1.75)]


def test_evidence_does_not_outlast_a_window_in_which_nothing_stands_out() -> None:
    assert run([[1.9, -3.0], None, [1.9, -3.0], None]) == []


def test_an_event_begins_where_something_began_to_stand_out_within_its_first_window() -> None:
    for onset_s, start_s in ((0.4, 0.4), (-7.0, 0.25), (np.inf, 1.25)):
        detector = Detector(("bell",), 1.0, CONFIG)
        (start,) = detector.push(np.array([3.0], np.float32), 0.25, -30.0, None, onset_s)
        assert start.start_s == start_s


def test_when_the_source_ends_what_lasts_is_ended() -> None:
    events = run([[3.0, -3.0]] * 4)
    assert [event.end_s for event in events] == [None, pytest.approx(1.75)]


def test_a_setting_out_of_range_is_named() -> None:
    with pytest.raises(EarmarkError, match="fire_at=0"):
        DetectionConfig(fire_at=0.0)
