"""From the evidence of overlapping windows to events: a clear sound fires at once, a doubtful one waits for more.

The evidence of a sound is a CUSUM (Page, Biometrika 1954): it adds up each window's log-odds, never below zero. Each
sound has its own, so that several can last at once. `make bench-stream` prints what another ``fire_at`` would do.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from device_app.arrays import FloatArray
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import EarmarkError
from device_app.listening.sound_event import Phase, SoundEvent

MOST_KEPT_WINDOWS = 16
"""Embeddings that an event carries: two seconds of it, or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionConfig:
    """When evidence becomes an event."""

    hop_s: float = 0.25
    """Seconds between the starts of two windows; half of it while something is fresh."""
    fresh_s: float = 0.75
    """For so long after something began to stand out it is looked at twice as often, and counts in full."""
    stale_weight: float = 0.75
    """How much a later window counts: it repeats what earlier ones said. `make bench-stream` shows what it is worth."""
    fire_at: float = 2.0
    """Evidence at which an event starts: log-odds, summed over windows. One fresh window that is so sure is enough."""
    least_loss: float = 0.5
    """Evidence that a window takes away at least, if it does not speak for a sound."""
    release_s: float = 1.0
    """An event ends when no window spoke for its sound for so long."""
    update_s: float = 1.0
    """While an event lasts it is updated so often."""
    refractory_s: float = 1.0
    """The same sound starts no new event for so long after one ended, unless its own settings say otherwise."""

    def __post_init__(self) -> None:
        for name in ("hop_s", "fresh_s", "stale_weight", "fire_at", "least_loss", "release_s", "update_s"):
            if getattr(self, name) <= 0:
                raise EarmarkError(f"detection.{name}={getattr(self, name)} must be above 0")


@dataclass(slots=True)
class _Track:
    """What is known of one sound."""

    sound: str
    sensitivity: float
    refractory_s: float
    evidence: float = 0.0
    first_s: float = 0.0
    last_s: float = -np.inf
    updated_s: float = -np.inf
    blocked_until_s: float = -np.inf
    level_dbfs: float = -np.inf
    embeddings: list[FloatArray] = field(default_factory=list)
    event: SoundEvent | None = None


class Detector:
    """Turns window scores into events, one track for each sound.

    Args:
        sounds: Names, in the order of the scores.
        clip_s: Length of a window, seconds.
        config: When evidence becomes an event.
        settings: Of the sounds that have some of their own.
    """

    def __init__(
        self,
        sounds: Sequence[str],
        clip_s: float,
        config: DetectionConfig,
        settings: Mapping[str, SoundSettings] | None = None,
    ) -> None:
        self._clip_s = clip_s
        self._config = config
        own = settings or {}
        self._tracks = [self._track(sound, own.get(sound, SoundSettings())) for sound in sounds]

    def _track(self, sound: str, own: SoundSettings) -> _Track:
        refractory_s = self._config.refractory_s if own.refractory_s is None else own.refractory_s
        return _Track(sound, own.sensitivity or 0.0, refractory_s)

    @property
    def evidence(self) -> FloatArray:
        """(n_sounds,) float32: what has been gathered for each sound, from 0; it fires at ``config.fire_at``."""
        return np.array([track.evidence for track in self._tracks], np.float32)

    @property
    def attentive(self) -> bool:
        """Whether it is in the middle of something: any sound has evidence, or lasts."""
        return any(track.evidence > 0.0 or track.event is not None for track in self._tracks)

    def push(
        self,
        scores: FloatArray | None,
        start_s: float,
        level_dbfs: float,
        embedding: FloatArray | None = None,
        onset_s: float = -np.inf,
        weight: float = 1.0,
    ) -> list[SoundEvent]:
        """Take one window.

        Args:
            scores: (n_sounds,) log-odds of each sound; None for a window in which nothing stands out.
            start_s: Where the window starts.
            level_dbfs: RMS level of the window.
            embedding: (size,) float32, kept for the events that it speaks for.
            onset_s: When what stands out began to.
            weight: How much the window counts, for a sound or against it.

        Returns:
            Events that started, went on or ended with this window.
        """
        end_s = start_s + self._clip_s
        if scores is None:
            return [event for track in self._tracks for event in self._lose(track, np.inf, end_s)]
        sure = [float(score) + track.sensitivity for score, track in zip(scores, self._tracks, strict=True)]
        out: list[SoundEvent] = []
        for i, track in enumerate(self._tracks):
            if sure[i] <= 0.0:
                out += self._lose(track, max(-sure[i] * weight, self._config.least_loss), end_s)
                continue
            if track.event is None and track.evidence == 0.0:
                track.first_s, track.level_dbfs = min(max(onset_s, start_s), end_s), -np.inf
                track.embeddings.clear()
            track.evidence = min(track.evidence + sure[i] * weight, self._config.fire_at)
            track.last_s = end_s
            track.level_dbfs = max(track.level_dbfs, level_dbfs)
            if embedding is not None and len(track.embeddings) < MOST_KEPT_WINDOWS:
                track.embeddings.append(embedding)
            if track.event is not None:
                track.event = replace(track.event, score=max(track.event.score, sure[i]))
                if end_s - track.updated_s >= self._config.update_s - 1e-9:
                    out.append(self._state(track, "update", end_s))
            elif track.evidence >= self._config.fire_at and end_s >= track.blocked_until_s:
                others = [j for j in np.argsort(sure)[::-1] if j != i]
                runner_up = self._tracks[others[0]].sound if others else None
                out.append(self._start(track, sure[i], runner_up, end_s))
        return out

    def finish(self, end_s: float) -> list[SoundEvent]:
        """The source ended, or has a gap: end what still lasts."""
        out = [self._end(track, end_s) for track in self._tracks if track.event is not None]
        for track in self._tracks:
            track.evidence = 0.0
        return out

    def _lose(self, track: _Track, loss: float, end_s: float) -> list[SoundEvent]:
        """A window that does not speak for a sound: the end of its event, if that is due."""
        track.evidence = max(0.0, track.evidence - loss)
        if track.event is not None and end_s - track.last_s >= self._config.release_s - 1e-9:
            return [self._end(track, end_s)]
        return []

    def _start(self, track: _Track, score: float, runner_up: str | None, end_s: float) -> SoundEvent:
        track.event = SoundEvent(
            phase="start",
            id=uuid.uuid4().hex,
            sound=track.sound,
            start_s=track.first_s,
            fired_s=end_s,
            last_s=end_s,
            score=score,
            runner_up=runner_up,
            level_dbfs=track.level_dbfs,
            embeddings=np.zeros((0, 0), np.float32),
        )
        return self._state(track, "start", end_s)

    def _end(self, track: _Track, now_s: float) -> SoundEvent:
        ended = self._state(track, "end", now_s)
        track.event, track.evidence = None, 0.0
        track.blocked_until_s = now_s + track.refractory_s
        return ended

    @staticmethod
    def _state(track: _Track, phase: Phase, now_s: float) -> SoundEvent:
        """The event as it stands."""
        assert track.event is not None
        track.updated_s = now_s
        embeddings = np.stack(track.embeddings) if track.embeddings else track.event.embeddings
        return replace(
            track.event, phase=phase, last_s=track.last_s, level_dbfs=track.level_dbfs, embeddings=embeddings
        )
