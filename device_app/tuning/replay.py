"""A recording through the same path as live audio, once; then what would have fired at any sensitivity, quickly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.capture import Source
from device_app.enrolment.head import Head
from device_app.enrolment.sound_settings import SoundSettings
from device_app.listening.command import listen
from device_app.listening.detector import DetectionConfig, Detector
from device_app.listening.recogniser import HeardWindow, Recogniser
from device_app.listening.sound_event import SoundEvent
from device_app.model.embedder import Embedder

_SETTLED_S = 5.0
"""So long after the last window that speaks for a sound nothing of it is left: its evidence is 0, its event over."""


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What the recogniser made of each window of a recording."""

    sounds: tuple[str, ...]
    clip_s: float
    """Length of a window."""
    heard_s: float
    """Audio in all."""
    start_s: NDArray[np.float64]
    """(n_windows,)"""
    level_dbfs: FloatArray
    """(n_windows,)"""
    scores: FloatArray
    """(n_windows, n_sounds) log-odds; -inf in windows that no setting would have looked at."""
    weight: FloatArray
    """(n_windows,) how much each counts."""
    due: NDArray[np.bool_]
    """(n_windows,) whether any setting would have looked at it; at others only a detector that is attentive does."""


def replay(
    source: Source,
    embedder: Embedder,
    head: Head,
    most_sensitive: float,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Replay:
    """Listen to a recording as fast as it goes.

    Args:
        source: A recording, or a folder of them.
        embedder: The model.
        head: What was taught.
        most_sensitive: No sound's sensitivity will be set higher than this.
        on_progress: Called with the seconds of audio heard so far.

    Raises:
        AudioError: If it cannot be read.
    """
    starts: list[float] = []
    due: list[bool] = []
    levels: list[float] = []
    weights: list[float] = []
    scores: list[FloatArray] = []
    quiet = np.full(len(head.sounds), -np.inf, np.float32)
    clip_s = embedder.metadata.clip_samples / embedder.metadata.sample_rate

    def on_window(window: HeardWindow) -> None:
        starts.append(window.start_s)
        levels.append(window.level_dbfs)
        weights.append(window.weight)
        due.append(window.due)
        scores.append(quiet if window.scores is None else window.scores)
        if len(starts) % 100 == 0:
            on_progress(window.start_s + clip_s)

    # The more sensitive a sound, the more windows are looked at: as many as any setting could need.
    attentive = {sound: SoundSettings(sensitivity=most_sensitive) for sound in head.sounds}
    recogniser = Recogniser(embedder, head, settings=attentive, on_window=on_window)
    listen(source, recogniser, lambda _event, _epoch_s: None, lambda _notice: None)
    return Replay(
        head.sounds,
        clip_s,
        recogniser.counts.heard_s,
        np.array(starts),
        np.array(levels, np.float32),
        np.array(scores, np.float32).reshape(-1, len(head.sounds)),
        np.array(weights, np.float32),
        np.array(due, dtype=bool),
    )


def events_at(
    replayed: Replay, sound: str, sensitivity: float, settings: Mapping[str, SoundSettings], config: DetectionConfig
) -> list[SoundEvent]:
    """The events of one sound that would have started, were its sensitivity this.

    Args:
        replayed: The recording.
        sound: One of its sounds.
        sensitivity: Instead of the one in ``settings``.
        settings: Of all sounds.
        config: Of the detector.
    """
    own = replace(settings.get(sound, SoundSettings()), sensitivity=sensitivity)
    settings = {**settings, sound: own}
    detector = Detector(replayed.sounds, replayed.clip_s, config, settings)
    added = [settings.get(name, SoundSettings()).sensitivity or 0.0 for name in replayed.sounds]
    speaks = np.any(replayed.scores + np.array(added, np.float32) > 0.0, axis=1)
    tail = int(_SETTLED_S / (config.hop_s / 2.0))
    # The windows that matter: from each that speaks for a sound until nothing of it is left.
    since = np.arange(len(speaks)) - np.maximum.accumulate(np.where(speaks, np.arange(len(speaks)), -tail - 1))
    events: list[SoundEvent] = []
    for i in np.flatnonzero(since <= tail).tolist():
        looked_at = np.isfinite(replayed.scores[i, 0]) and (replayed.due[i] or detector.attentive)
        scores = replayed.scores[i] if looked_at else None
        start_s, level, weight = float(replayed.start_s[i]), float(replayed.level_dbfs[i]), float(replayed.weight[i])
        pushed = detector.push(scores, start_s, level, weight=weight)
        events += [event for event in pushed if event.sound == sound and event.phase == "start"]
    return events
