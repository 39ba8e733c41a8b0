import numpy as np
import pytest

from device_app.errors import EarmarkError
from device_app.listening.detector import DetectionConfig, Detector, SoundEvent

CONFIG = DetectionConfig(hop_s=0.25, fire_at=2.0, gain_cap=1.5, release_s=1.0, refractory_s=1.0)


def run(scores: list[list[float] | None], sounds: tuple[str, ...] = ("bell", "dog")) -> list[SoundEvent]:
    detector = Detector(sounds, 1.0, CONFIG)
    out: list[SoundEvent] = []
    for i, row in enumerate(scores):
        out += detector.push(None if row is None else np.array(row, np.float32), i * 0.25, -30.0)
    return out + detector.finish(len(scores) * 0.25 + 0.75)


QUIET = [-3.0, -3.0]


def test_one_window_alone_never_fires_however_sure_it_is() -> None:
    assert run([QUIET, [50.0, -3.0], QUIET, QUIET]) == []


def test_two_clear_windows_fire_with_the_second() -> None:
    start, end = run([QUIET, [9.0, -3.0], [8.0, -1.0], QUIET, QUIET, QUIET, QUIET, QUIET])
    assert (start.sound, start.start_s, start.fired_s, start.end_s) == ("bell", 0.25, 1.5, None)
    assert (start.runner_up, start.level_dbfs) == ("dog", -30.0)
    assert (end.end_s, end.score) == (1.5, 8.0)


def test_doubtful_windows_need_more_of_them() -> None:
    fired = [event.fired_s for event in run([[0.5, -3.0]] * 6) if event.end_s is None]
    assert fired == [3 * 0.25 + 1.0]  # the fourth window brings 4 * 0.5 = 2.0


def test_only_the_best_sound_of_a_window_gains() -> None:
    starts = [event.sound for event in run([[3.0, 2.9]] * 8) if event.end_s is None]
    assert starts == ["bell"]


def test_a_sound_that_goes_on_is_one_event_and_ends_a_second_after_it_stops() -> None:
    events = run([[3.0, -3.0]] * 20 + [QUIET] * 8)
    assert [event.end_s is None for event in events] == [True, False]
    assert events[1].end_s == pytest.approx(19 * 0.25 + 1.0)


def test_after_its_end_a_sound_is_refractory_and_then_may_fire_again() -> None:
    bell = [[3.0, -3.0]] * 4
    assert len([event for event in run(bell + [QUIET] * 4 + bell[:3] + [QUIET] * 8) if event.end_s is None]) == 1
    assert len([event for event in run(bell + [QUIET] * 12 + bell) if event.end_s is None]) == 2


def test_silence_ends_an_event_like_any_other_window() -> None:
    events = run([[3.0, -3.0]] * 4 + [None] * 8)
    assert [event.end_s for event in events] == [None, pytest.approx(1.75)]


def test_when_the_source_ends_what_lasts_is_ended() -> None:
    events = run([[3.0, -3.0]] * 4)
    assert [event.end_s for event in events] == [None, pytest.approx(1.75)]


def test_a_setting_out_of_range_is_named() -> None:
    with pytest.raises(EarmarkError, match="fire_at=0"):
        DetectionConfig(fire_at=0.0)
