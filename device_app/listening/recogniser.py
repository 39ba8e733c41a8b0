"""The path that all audio takes, a microphone's, a file's and the demo's: blocks in, events out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from device_app.arrays import FloatArray
from device_app.capture import Block
from device_app.enrolment.head import Head
from device_app.enrolment.sound_settings import SoundSettings
from device_app.listening.detector import DetectionConfig, Detector
from device_app.listening.noise_gate import NoiseGate
from device_app.listening.sound_event import SoundEvent
from device_app.listening.window_stream import WindowStream, level_dbfs
from device_app.model.embedder import Embedder

_GLANCE = 4
"""Of the windows in which nothing stands out, one in so many is looked at all the same: for what rises so slowly that
it passes for the room."""
_BRIEF_S = 0.4
"""What has lasted for less than this is a small part of a window, and is repeated until it fills one."""

_SHIFT = 0.25
"""How far a window of a live source may be shifted, as a share of the step between two: soxr delivers in lumps of up to
0.03 s, and a step may be no whole number of a device's samples."""


@dataclass(slots=True)
class Counts:
    """What passed through so far."""

    heard_s: float = 0.0
    """Seconds of audio."""
    lost_s: float = 0.0
    """Seconds of audio that the source lost."""
    n_windows: int = 0
    n_embedded: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class HeardWindow:
    """One window as the recogniser took it: what a live view shows, and what thresholds are tuned on."""

    start_s: float
    """On the source's clock; below 0 for the first ones, which zeros lead."""
    level_dbfs: float
    """RMS."""
    evidence: FloatArray
    """(n_sounds,) float32, gathered so far: an event starts at ``DetectionConfig.fire_at``."""
    scores: FloatArray | None
    """(n_sounds,) float32, log-odds of this window alone, as the head gives them; None if nothing stood out in it."""
    embedding: FloatArray | None
    """(size,) float32, likewise."""
    due: bool
    """Whether it was looked at for itself, not only because the detector was in the middle of something."""
    weight: float
    """How much it counts as evidence."""


class Recogniser:
    """Resamples, cuts windows, embeds, scores and decides.

    Args:
        embedder: The model.
        head: What was taught.
        config: When evidence becomes an event.
        settings: Of the sounds that have some of their own.
        on_window: Called with each window, before the events that it caused are returned.
        live: Whether windows shift a little so that they end with the blocks that come: none of it waits for the next.
    """

    def __init__(
        self,
        embedder: Embedder,
        head: Head,
        config: DetectionConfig | None = None,
        *,
        settings: Mapping[str, SoundSettings] | None = None,
        on_window: Callable[[HeardWindow], None] | None = None,
        live: bool = False,
    ) -> None:
        config = config or DetectionConfig()
        self._rate, self._clip = embedder.metadata.sample_rate, embedder.metadata.clip_samples
        self._step = round(config.hop_s * self._rate) // 2
        self._fresh_s, self._stale_weight = config.fresh_s, config.stale_weight
        self._silence_dbfs = embedder.metadata.silence_dbfs
        self._embedder = embedder
        self._head = head
        lead = max(0, self._clip - 2 * self._step)  # the first window ends a hop after the first sample
        self._windows = WindowStream(
            sample_rate=self._rate,
            clip_samples=self._clip,
            hop_samples=self._step,
            lead_samples=lead,
            shift_samples=round(_SHIFT * self._step) if live else 0,
        )
        self._gate = NoiseGate(self._rate)
        self._detector = Detector(head.sounds, self._clip / self._rate, config, settings)
        self._on_window = on_window
        self._n_quiet = 0  # steps since something stood out
        self._between = True  # whether the last window lay between two of the hop
        self._last_s = -np.inf  # where the last window started
        self._end_s = 0.0
        self.counts = Counts()

    def push(self, block: Block) -> list[SoundEvent]:
        """Take a block of any length and rate; return the events that started, went on or ended with it."""
        out: list[SoundEvent] = []
        if block.n_lost:
            self.counts.lost_s += block.n_lost / block.sample_rate
            out += self._detector.finish(self._end_s)
        self.counts.heard_s += block.waveform.size / block.sample_rate
        self._end_s = block.end_sample / block.sample_rate
        windows = self._windows.push(block.waveform, block.sample_rate, block.start_sample)
        for waveform, start_s in zip(windows.waveforms, windows.start_s.tolist(), strict=True):
            out += self._take(waveform, start_s)
        return out

    def _take(self, waveform: FloatArray, start_s: float) -> list[SoundEvent]:
        """One window. Those between two of the hop are passed over, save for a while after something began."""
        n_new = round((start_s - self._last_s) * self._rate) if self._last_s > -np.inf else self._clip
        self._last_s = start_s
        follows = 0 < n_new <= (1.0 + _SHIFT) * self._step  # after a gap zeros lead: two steps or more
        self._between = follows and not self._between
        stands_out = self._gate.push(waveform[-n_new:] if follows else waveform)
        self._n_quiet = 0 if stands_out else self._n_quiet + 1
        since_s = self._gate.since_onset_s
        fresh = since_s < self._fresh_s
        if self._between and not fresh:
            return []
        level = level_dbfs(waveform)
        ends = self._n_quiet * self._step < self._clip // 2  # earlier windows held more of what stood out
        due = level > self._silence_dbfs and (fresh or ends or self._n_quiet // 2 % _GLANCE == 0)
        weight = 1.0 if fresh else self._stale_weight
        scores = embedding = None
        if due or (level > self._silence_dbfs and self._detector.attentive):
            seen = filled(waveform, round(since_s * self._rate)) if since_s < _BRIEF_S else waveform
            embedding = self._embedder.embed(seen[None])[0]
            scores = self._head.score(embedding[None])[0]
            self.counts.n_embedded += 1
        self.counts.n_windows += 1
        onset_s = max(0.0, start_s + self._clip / self._rate - since_s)
        events = self._detector.push(scores, start_s, level, embedding, onset_s, weight)
        if self._on_window is not None:
            self._on_window(HeardWindow(start_s, level, self._detector.evidence, scores, embedding, due, weight))
        return events

    def finish(self) -> list[SoundEvent]:
        """The source ended: end the events that still last."""
        return self._detector.finish(self._end_s)


def filled(waveform: FloatArray, n_samples: int) -> FloatArray:
    """The last samples of a (n,) waveform, repeated until they fill its length; they end where it ends."""
    n_times = -(-len(waveform) // n_samples)
    return np.tile(waveform[-n_samples:], n_times)[-len(waveform) :]
