"""How often a sound is missed and how often it is heard falsely, at each sensitivity: its DET curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from device_app.enrolment.sound_settings import SoundSettings
from device_app.listening.detector import DetectionConfig
from device_app.listening.sound_event import SoundEvent
from device_app.tuning.labels import Label
from device_app.tuning.replay import Replay, events_at

SENSITIVITIES = tuple(np.arange(-10.0, 6.25, 0.25).tolist())
"""Log-odds added to a sound's evidence that are tried."""
BUDGETS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 24.0)
"""False alarms a day that are shown."""
_LATE_S = 1.5
"""An event counts for an occurrence if it fires while the sound lasts or up to so long after, as in the demo."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one sensitivity leads to."""

    sensitivity: float
    events: tuple[SoundEvent, ...]
    """What fires."""
    false: tuple[SoundEvent, ...]
    """Those of them that no label explains; all, where there are no labels."""
    n_heard: int
    """Labelled occurrences with at least one event."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one sound, from the least sensitive to the most."""

    sound: str
    heard_s: float
    n_labelled: int | None
    """Occurrences in the recording; None where nobody said."""
    points: tuple[Point, ...]

    def false_per_day(self, point: Point) -> float:
        """False alarms in a day like this recording."""
        return len(point.false) * 86400.0 / self.heard_s

    def false_per_day_bound(self, point: Point) -> float:
        """What the true rate is below with 95 % confidence (one-sided exact Poisson bound, Garwood 1936)."""
        from scipy.special import gammaincinv

        return float(gammaincinv(len(point.false) + 1, 0.95)) * 86400.0 / self.heard_s

    def missed_share(self, point: Point) -> float | None:
        """Share of the labelled occurrences that were not heard; None where there are none."""
        return 1.0 - point.n_heard / self.n_labelled if self.n_labelled else None

    def choose(self, budget: float) -> Point | None:
        """The point to use within a budget of false alarms a day; None if even the least sensitive exceeds it.

        With labels the one that misses fewest, and of several such the one with the fewest false alarms; of those the
        middle one, which is farthest from either error. Without labels the most sensitive, though none above 0 where
        the recording is so short that the budget allows it no false alarm: that it has none says nothing then.
        """
        within: list[Point] = []
        for point in self.points:
            if self.false_per_day(point) > budget:
                break
            within.append(point)
        if not self.n_labelled and self.heard_s * budget < 86400.0:
            within = [point for point in within if point.sensitivity <= 0.0]
        if not within or not self.n_labelled:
            return within[-1] if within else None
        fewest_errors = max((point.n_heard, -len(point.false)) for point in within)
        best = [point for point in within if (point.n_heard, -len(point.false)) == fewest_errors]
        return best[len(best) // 2]


def trace(
    replayed: Replay,
    sound: str,
    labels: Sequence[Label] | None,
    settings: Mapping[str, SoundSettings],
    config: DetectionConfig,
) -> Curve:
    """The curve of one sound, the others as they are set now.

    Args:
        replayed: The recording.
        sound: One of its sounds.
        labels: What it holds; None if nobody said, and then all that fires counts as false.
        settings: Of all sounds.
        config: Of the detector.
    """
    own = None if labels is None else [label for label in labels if label.sound == sound]
    points = []
    for sensitivity in SENSITIVITIES:
        events = events_at(replayed, sound, sensitivity, settings, config)
        explained = [[_explains(label, event) for label in own or ()] for event in events]
        false = tuple(event for event, by in zip(events, explained, strict=True) if not any(by))
        n_heard = int(np.any(np.array(explained, dtype=bool).reshape(len(events), len(own or ())), axis=0).sum())
        points.append(Point(sensitivity, tuple(events), false, n_heard))
    return Curve(sound, replayed.heard_s, None if own is None else len(own), tuple(points))


def _explains(label: Label, event: SoundEvent) -> bool:
    return label.start_s <= event.fired_s <= label.end_s + _LATE_S
