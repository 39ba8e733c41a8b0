"""From the evidence of overlapping windows to events: a clear sound fires at once, a doubtful one waits for more.

The evidence of a sound is a CUSUM (Page, Biometrika 1954): it adds up each window's log-odds, never
below zero. Only the best sound of a window gains; the others lose.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from device_app.arrays import FloatArray
from device_app.errors import EarmarkError


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionConfig:
    """When evidence becomes an event."""

    hop_s: float = 0.25
    """Seconds between the starts of two windows."""
    fire_at: float = 2.0
    """Evidence at which an event starts: log-odds, summed over windows."""
    gain_cap: float = 1.5
    """The most that one window adds: below ``fire_at``, so that no single window can fire."""
    release_s: float = 1.0
    """An event ends when its sound was not the best one for so long."""
    refractory_s: float = 1.0
    """The same sound starts no new event for so long after one ended."""

    def __post_init__(self) -> None:
        for name in ("hop_s", "fire_at", "gain_cap", "release_s"):
            if getattr(self, name) <= 0:
                raise EarmarkError(f"detection.{name}={getattr(self, name)} must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundEvent:
    """A sound that was heard. Times are seconds on the source's clock."""

    sound: str
    start_s: float
    """Start of the first window that spoke for it."""
    fired_s: float
    """End of the window that tipped the scale: when the event was known."""
    end_s: float | None
    """End of the last window that spoke for it; None while it lasts."""
    score: float
    """Best log-odds so far."""
    runner_up: str | None
    """The second best sound at that moment."""
    level_dbfs: float


@dataclass(slots=True)
class _Track:
    evidence: float = 0.0
    first_s: float = 0.0
    last_s: float = -np.inf
    blocked_until_s: float = -np.inf
    event: SoundEvent | None = None


class Detector:
    """Turns window scores into events, one track for each sound."""

    def __init__(self, sounds: Sequence[str], clip_s: float, config: DetectionConfig) -> None:
        self._sounds = tuple(sounds)
        self._clip_s = clip_s
        self._config = config
        self._tracks = [_Track() for _ in sounds]

    def push(self, scores: FloatArray | None, start_s: float, level_dbfs: float) -> list[SoundEvent]:
        """Take one window.

        Args:
            scores: (n_sounds,) log-odds of each sound; None for a window that was not looked at.
            start_s: Where the window starts.
            level_dbfs: RMS level of the window.

        Returns:
            Events that started (``end_s`` is None) or ended with this window.
        """
        config, end_s = self._config, start_s + self._clip_s
        order = [] if scores is None else np.argsort(scores)[::-1].tolist()
        best = order[0] if order and scores is not None and scores[order[0]] > 0 else None
        out: list[SoundEvent] = []
        for i, track in enumerate(self._tracks):
            if i == best and scores is not None:
                score = float(scores[i])
                if track.evidence == 0.0 and track.event is None:
                    track.first_s = start_s
                track.evidence += min(score, config.gain_cap)
                track.last_s = end_s
                if track.event is not None and score > track.event.score:
                    track.event = replace(track.event, score=score, level_dbfs=level_dbfs)
                if track.event is None and track.evidence >= config.fire_at and end_s >= track.blocked_until_s:
                    track.event = SoundEvent(
                        sound=self._sounds[i],
                        start_s=track.first_s,
                        fired_s=end_s,
                        end_s=None,
                        score=score,
                        runner_up=self._sounds[order[1]] if len(order) > 1 else None,
                        level_dbfs=level_dbfs,
                    )
                    out.append(track.event)
                continue
            loss = config.gain_cap if scores is None else max(-float(scores[i]), 0.5)
            track.evidence = max(0.0, min(track.evidence, config.fire_at) - loss)
            if track.event is not None and end_s - track.last_s >= config.release_s - 1e-9:
                out.append(self._end(track, end_s))
        return out

    def finish(self, end_s: float) -> list[SoundEvent]:
        """The source ended, or has a gap: end what still lasts."""
        out = [self._end(track, end_s) for track in self._tracks if track.event is not None]
        for track in self._tracks:
            track.evidence = 0.0
        return out

    def _end(self, track: _Track, now_s: float) -> SoundEvent:
        assert track.event is not None
        ended = replace(track.event, end_s=track.last_s)
        track.event, track.evidence = None, 0.0
        track.blocked_until_s = now_s + self._config.refractory_s
        return ended
