"""What an enrolment is worth before anyone relies on it: recall, false alarms, confusions, what would help most."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from device_app.arrays import FloatArray
from device_app.enrolment.head import Examples, Fit
from device_app.enrolment.head_weights import in_words
from device_app.enrolment.threshold import Threshold, per_hour
from device_app.listening.detector import DetectionConfig, Detector

CONFIDENCE = 0.95

NOTHING = "nothing"
"""What a recording was taken for that no sound spoke up for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundReport:
    """What is known of one sound."""

    sound: str
    n_recordings: int
    n_judged: int
    """Recordings that a fit without them was asked about: none if there is only one."""
    n_heard: int
    recall_low: float
    """Exact 95 % interval of the share that would be heard of such recordings, two-sided."""
    recall_high: float
    taken_for: Mapping[str, int]
    """What the recordings that were not heard were taken for."""
    threshold: float
    """Score from which on a window speaks for it, in units of the spread of the bank's scores."""
    false_alarms_per_hour: float
    """Expected of a background like the bank, or like the room if that is worse."""
    false_alarms_per_hour_at_most: float
    """What the background that there is can vouch for: 95 % bound, one-sided."""
    head_weights: Mapping[str, float]
    in_words: str
    """What the weights mean."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of all sounds."""

    sounds: tuple[SoundReport, ...]
    next_recording: str
    """The one recording that would help most."""


def clopper_pearson(n_heard: int, n_judged: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact two-sided interval of a share (Clopper and Pearson 1934)."""
    from scipy.stats import beta  # slow to import

    tail = (1.0 - confidence) / 2.0
    low = float(beta.ppf(tail, n_heard, n_judged - n_heard + 1)) if n_heard else 0.0
    high = float(beta.ppf(1.0 - tail, n_heard + 1, n_judged - n_heard)) if n_heard < n_judged else 1.0
    return low, high


def _bound_per_hour(threshold: Threshold) -> float:
    """One-sided bound of the rate of false alarms from what was counted (Garwood 1936), or what is expected if more.

    The count is of all backgrounds together, and what is expected is that of the worst of them.
    """
    from scipy.stats import chi2  # slow to import

    n_at_most = float(chi2.ppf(CONFIDENCE, 2 * (threshold.n_exceeding + 1))) / 2.0
    return max(per_hour(n_at_most / threshold.n_windows), threshold.false_alarms_per_hour)


def heard_as(scores: FloatArray, sounds: Sequence[str], clip_s: float) -> list[str]:
    """Sounds that start an event when windows pass the detector, in the order of their events.

    Args:
        scores: (n, n_sounds) evidence of windows, in the order of time.
        sounds: Names of the sounds.
        clip_s: Seconds of a window.
    """
    config = DetectionConfig()
    detector = Detector(sounds, clip_s, config)
    events = [event.sound for i, row in enumerate(scores) for event in detector.push(row, i * config.hop_s, 0.0)]
    return list(dict.fromkeys(events))


def make_report(
    fit: Fit, examples: Sequence[Examples], heads: Sequence[str], clip_s: float, *, has_room: bool
) -> Report:
    """Judge an enrolment by what each recording is taken for by a fit that has not seen it.

    Args:
        fit: Of these examples.
        examples: The recordings, as they were fitted.
        heads: Names of the network's heads.
        clip_s: Seconds of a window.
        has_room: Whether the background is known.
    """
    taken_for: dict[str, list[str]] = {name: [] for name in fit.head.sounds}
    for i, entry in enumerate(examples):
        scores = fit.held_out[fit.owner == i]
        if np.isfinite(scores).all():
            heard = heard_as(scores, fit.head.sounds, clip_s)
            taken_for[entry.sound].append(entry.sound if entry.sound in heard else next(iter(heard), NOTHING))
    n_recordings = Counter(entry.sound for entry in examples)
    reports = []
    for i, name in enumerate(fit.head.sounds):
        answers = taken_for[name]
        low, high = clopper_pearson(answers.count(name), len(answers))
        weights = {head: round(float(w), 3) for head, w in zip(heads, fit.head_weights[i], strict=True)}
        reports.append(
            SoundReport(
                sound=name,
                n_recordings=n_recordings[name],
                n_judged=len(answers),
                n_heard=answers.count(name),
                recall_low=low,
                recall_high=high,
                taken_for=dict(Counter(answer for answer in answers if answer != name).most_common()),
                threshold=round(fit.thresholds[i].score, 3),
                false_alarms_per_hour=fit.thresholds[i].false_alarms_per_hour,
                false_alarms_per_hour_at_most=_bound_per_hour(fit.thresholds[i]),
                head_weights=weights,
                in_words=in_words(fit.head_weights[i], heads),
            )
        )
    return Report(tuple(reports), _next_recording(reports, has_room=has_room))


def _next_recording(reports: Sequence[SoundReport], *, has_room: bool) -> str:
    """The recording that would help the weakest sound most."""
    weakest = min(reports, key=lambda report: (report.recall_low, -report.false_alarms_per_hour, report.sound))
    name = weakest.sound
    if weakest.n_recordings == 1:
        return f"a second recording of '{name}', from another moment: one alone cannot be checked"
    confused = [other for other in weakest.taken_for if other != NOTHING]
    if confused and weakest.taken_for[confused[0]] >= weakest.taken_for.get(NOTHING, 0):
        return (
            f"another recording of '{name}', which was taken for '{confused[0]}', and then one more of '{confused[0]}'"
        )
    if weakest.n_heard < weakest.n_judged:
        return (
            f"another recording of '{name}', as unlike the others as it really comes: "
            f"{weakest.n_judged - weakest.n_heard} of {weakest.n_judged} were not recognised from the rest"
        )
    if not has_room:
        return "a few minutes of your room as 'background': false alarms are only known for everyday audio so far"
    return f"another recording of '{name}', from another moment or distance: it has the fewest that speak for it"
