import numpy as np
import pytest

from device_app.enrolment.threshold import EVENTS_A_WINDOW, FIRES_ABOVE, Tail, choose_threshold

NONE = np.zeros(0)


@pytest.mark.parametrize("share", [1e-2, 1e-3, 1e-5])
def test_the_tail_of_an_exponential_is_found_again_far_beyond_what_was_observed(share: float) -> None:
    scores = -2.0 * np.log1p(-(np.arange(2000) + 0.5) / 2000)
    assert Tail.of(scores).score_at(share) == pytest.approx(-2.0 * np.log(share), rel=0.1)


def test_the_shape_of_a_heavy_tail_is_found() -> None:
    """A Pareto distribution of index 4 has shape 1/4."""
    assert Tail.of(np.random.default_rng(1).pareto(4.0, 200_000)).shape == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    "scores", [np.random.default_rng(2).standard_normal(2000), np.random.default_rng(3).uniform(size=30)]
)
def test_the_share_above_a_score_is_the_inverse_of_the_score_at_a_share(scores: np.ndarray) -> None:
    tail = Tail.of(scores)
    for share in (0.02, 1e-3, 1e-6):
        assert tail.share_above(tail.score_at(share)) == pytest.approx(share, rel=1e-6)


def test_a_budget_is_the_rate_that_is_expected_and_a_smaller_one_has_a_higher_threshold() -> None:
    scores = np.random.default_rng(4).standard_normal(2000)
    one, twenty = (choose_threshold(scores, NONE, NONE, per_day) for per_day in (1.0, 20.0))
    assert (one.false_alarms_per_hour, twenty.false_alarms_per_hour) == pytest.approx((1 / 24, 20 / 24))
    assert one.score > twenty.score + 0.3
    assert one.n_windows == 2000


def test_the_worse_of_bank_and_room_sets_the_threshold_and_a_few_windows_set_none() -> None:
    rng = np.random.default_rng(5)
    bank, room = rng.standard_normal(2000), rng.standard_normal(200) + 4.0
    alone = choose_threshold(bank, NONE, NONE, 24.0)
    assert choose_threshold(bank, room, NONE, 24.0).score > alone.score + 2.0
    assert choose_threshold(bank, room[:5], NONE, 24.0).score == alone.score


def test_a_budget_holds_in_either_half_of_the_bank() -> None:
    rng = np.random.default_rng(8)
    quiet, talking = rng.standard_normal(2000), rng.standard_normal(2000) + 2.0 * (rng.random(2000) < 0.1)
    threshold = choose_threshold(np.concatenate([quiet, talking]), NONE, NONE, 24.0)
    alone = [Tail.of(half).score_at(1.0 / (EVENTS_A_WINDOW * 14400.0)) - FIRES_ABOVE for half in (quiet, talking)]
    assert threshold.score == max(alone) == alone[1]
    assert threshold.false_alarms_per_hour == pytest.approx(1.0)


def test_what_was_named_as_a_confusion_does_not_speak_for_the_sound() -> None:
    scores = np.random.default_rng(6).standard_normal(2000)
    assert choose_threshold(scores, NONE, np.array([9.0, 12.0]), 24.0).score == 12.0


def test_windows_where_the_detector_fires_are_counted() -> None:
    two_percent = 24 * 14400 * 0.02 * EVENTS_A_WINDOW
    half = -np.log1p(-(np.arange(1000) + 0.5) / 1000)
    threshold = choose_threshold(np.concatenate([half, half]), NONE, NONE, two_percent)
    assert threshold.n_exceeding == pytest.approx(40, abs=2)
    assert threshold.score + FIRES_ABOVE == pytest.approx(-np.log(0.02), abs=0.1)


def test_a_bank_of_a_few_windows_gives_a_threshold_too() -> None:
    assert np.isfinite(choose_threshold(np.arange(5.0), NONE, NONE, 24.0).score)
