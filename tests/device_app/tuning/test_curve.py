import xml.etree.ElementTree
from dataclasses import replace

import numpy as np
import pytest

from device_app.enrolment.sound_settings import SoundSettings
from device_app.listening.detector import DetectionConfig, Detector
from device_app.listening.sound_event import SoundEvent
from device_app.tuning.curve import Curve, Point, trace
from device_app.tuning.det_chart import det_svg
from device_app.tuning.labels import Label
from device_app.tuning.replay import Replay, events_at

CONFIG = DetectionConfig()
WEIGHTS = np.array([1.0, 1.0, 0.5], np.float32)


def replayed(scores: np.ndarray, due: np.ndarray | None = None) -> Replay:
    n = len(scores)
    due = np.ones(n, bool) if due is None else due
    levels, weights = np.full(n, -30, np.float32), WEIGHTS[np.arange(n) % len(WEIGHTS)]
    return Replay(("bell", "dog"), 1.0, n * 0.25 + 0.75, np.arange(n) * 0.25, levels, scores, weights, due)


def random_scores(seed: int, n: int = 4000) -> np.ndarray:
    """Mostly quiet or unlike anything, with bouts in which one sound or both are likely."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(-6.0, 2.0, (n, 2))
    for start in rng.integers(0, n - 12, 40):
        scores[start : start + rng.integers(1, 16), rng.integers(2)] += rng.uniform(6, 14)
    scores[rng.random(n) < 0.3] = -np.inf
    return scores.astype(np.float32)


def played(events: list[SoundEvent]) -> list[tuple[float, float, float]]:
    return [(event.start_s, event.fired_s, event.score) for event in events]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sensitivity", [-3.0, 0.0, 2.5])
@pytest.mark.parametrize("sound", ["bell", "dog"])
def test_leaving_out_the_windows_that_do_not_matter_changes_no_event(seed: int, sensitivity: float, sound: str) -> None:
    scores = random_scores(seed)
    due = np.random.default_rng(seed).random(len(scores)) < 0.8
    others = {"bell": SoundSettings(sensitivity=-0.5, refractory_s=3.0), "dog": SoundSettings(sensitivity=0.5)}
    settings = {**others, sound: replace(others[sound], sensitivity=sensitivity)}
    detector = Detector(("bell", "dog"), 1.0, CONFIG, settings)
    expected: list[SoundEvent] = []
    for i, row in enumerate(scores):
        looked_at = np.isfinite(row[0]) and (due[i] or detector.attentive)
        expected += detector.push(row if looked_at else None, i * 0.25, -30.0, weight=WEIGHTS[i % len(WEIGHTS)])
    expected = [event for event in expected if event.sound == sound and event.phase == "start"]
    assert len(expected) > 3
    assert played(events_at(replayed(scores, due), sound, sensitivity, others, CONFIG)) == played(expected)


def bouts(*starts: int, score: float, n: int = 4000) -> np.ndarray:
    scores = np.full((n, 2), -8.0, np.float32)
    for start in starts:
        scores[start : start + 6, 0] = score
    return scores


def test_a_curve_counts_what_labels_explain_and_what_they_do_not() -> None:
    """Two bells are clear, one is faint, and something else is as loud as the faint one."""
    scores = np.maximum(bouts(100, 200, score=3.0), bouts(300, 400, score=-1.0))
    labels = [Label("bell", 25.0, 27.0), Label("bell", 50.0, 52.0), Label("bell", 75.0, 77.0), Label("dog", 100, 101)]
    curve = trace(replayed(scores), "bell", labels, {}, CONFIG)
    at = {point.sensitivity: point for point in curve.points}
    assert (len(at[-5.0].events), at[-5.0].n_heard, len(at[-5.0].false)) == (0, 0, 0)
    assert (len(at[0.0].events), at[0.0].n_heard, len(at[0.0].false)) == (2, 2, 0)
    assert (len(at[3.0].events), at[3.0].n_heard, len(at[3.0].false)) == (4, 3, 1)
    assert at[3.0].false[0].fired_s > 100.0
    assert curve.missed_share(at[0.0]) == pytest.approx(1 / 3)
    assert curve.false_per_day(at[3.0]) == pytest.approx(86400 / 1000.75)
    chosen = curve.choose(1.0)
    assert chosen is not None
    assert chosen.n_heard == 2
    assert -2.5 < chosen.sensitivity < 1.0  # in the middle of those that hear two
    assert chosen.false == ()
    all_three = curve.choose(100.0)
    assert all_three is not None
    assert all_three.n_heard == 3


def test_a_budget_is_not_spent_where_it_buys_nothing() -> None:
    scores = np.maximum(bouts(100, score=3.0), bouts(300, score=-1.0))
    curve = trace(replayed(scores), "bell", [Label("bell", 25.0, 27.0)], {}, CONFIG)
    chosen = curve.choose(1000.0)
    assert chosen is not None
    assert (chosen.n_heard, chosen.false) == (1, ())


def test_an_event_that_fires_long_after_its_sound_is_false() -> None:
    curve = trace(replayed(bouts(100, score=3.0)), "bell", [Label("bell", 20.0, 24.0)], {}, CONFIG)
    point = next(point for point in curve.points if point.sensitivity == 0.0)
    assert (point.n_heard, len(point.false)) == (0, 1)


def test_without_labels_all_that_fires_is_false_and_the_most_sensitive_within_the_budget_is_chosen() -> None:
    scores = np.maximum(bouts(100, score=3.0), bouts(300, 400, score=-1.0))
    curve = trace(replayed(scores), "bell", None, {}, CONFIG)
    per_event = 86400 / 1000.75
    chosen = curve.choose(1.5 * per_event)
    assert chosen is not None
    assert len(chosen.events) == 1
    after = curve.points[curve.points.index(chosen) + 1]
    assert len(after.events) == 3
    assert curve.missed_share(chosen) is None


@pytest.mark.parametrize("labels", [None, [Label("dog", 25.0, 27.0)]])
def test_a_short_recording_without_the_sound_makes_it_no_more_sensitive(labels: list[Label] | None) -> None:
    curve = trace(replayed(bouts(100, score=-3.0)), "bell", labels, {}, CONFIG)
    too_short, long_enough = curve.choose(1.0), curve.choose(100.0)  # of 1000 s
    assert too_short is not None
    assert long_enough is not None
    assert too_short.sensitivity == 0.0
    assert long_enough.sensitivity > 0.0


def test_a_sound_that_fires_at_any_sensitivity_has_no_choice() -> None:
    curve = trace(replayed(bouts(100, score=30.0)), "bell", None, {}, CONFIG)
    assert curve.choose(1.0) is None


def event(fired_s: float) -> SoundEvent:
    return SoundEvent(
        phase="start",
        id="0" * 32,
        sound="bell",
        start_s=fired_s - 1,
        fired_s=fired_s,
        last_s=fired_s,
        score=1.0,
        runner_up=None,
        level_dbfs=-30.0,
        embeddings=np.zeros((0, 0), np.float32),
    )


@pytest.mark.parametrize(("n_false", "bound"), [(0, 3.00), (1, 4.74), (5, 10.51), (10, 16.96)])
def test_the_bound_is_that_of_the_tables(n_false: int, bound: float) -> None:
    """One-sided 95 % upper limits of a Poisson mean, from Garwood's table."""
    false = tuple(event(float(i)) for i in range(n_false))
    curve = Curve("bell", 86400.0, None, (Point(0.0, false, false, 0),))
    assert curve.false_per_day_bound(curve.points[0]) == pytest.approx(bound, abs=0.005)


def test_the_chart_has_a_line_for_each_sound_that_falls_from_left_to_right() -> None:
    scores = np.maximum(bouts(100, 200, score=3.0), bouts(300, 400, score=-1.0))
    labels = [Label("bell", 25.0, 27.0), Label("bell", 50.0, 52.0), Label("bell", 75.0, 77.0)]
    curve = trace(replayed(scores), "bell", labels, {}, CONFIG)
    root = xml.etree.ElementTree.fromstring(det_svg([curve, replace(curve, sound="<dog> & co")]))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    corners = [tuple(map(float, pair.split(","))) for pair in lines[0].attrib["points"].split()]
    assert len(corners) == len(curve.points)
    assert corners == sorted(corners)  # more false alarms, and further down: fewer misses
    assert sorted(set(corners)) == [(70.0, 30.0), (70.0, corners[40][1]), (corners[-1][0], 380.0)]  # none, two, three
    texts = [entry.text for entry in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<dog> & co (3)" in texts
