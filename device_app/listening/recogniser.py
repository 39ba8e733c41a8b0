"""The path that all audio takes, a microphone's, a file's and the demo's: blocks in, events out."""

from dataclasses import dataclass

import numpy as np

from device_app.capture import Block
from device_app.embedder import Embedder
from device_app.enrolment.head import Head
from device_app.listening.detector import DetectionConfig, Detector, SoundEvent
from device_app.listening.window_stream import WindowStream, level_dbfs

GATE_DBFS = -70.0
"""Windows quieter than this are silence to any microphone, and the network is spared them."""


@dataclass(slots=True)
class Counts:
    """What passed through so far."""

    heard_s: float = 0.0
    """Seconds of audio."""
    lost_s: float = 0.0
    """Seconds of audio that the source lost."""
    n_windows: int = 0
    n_embedded: int = 0


class Recogniser:
    """Resamples, cuts windows, embeds, scores and decides."""

    def __init__(self, embedder: Embedder, head: Head, config: DetectionConfig | None = None) -> None:
        config = config or DetectionConfig()
        rate, clip = embedder.metadata.sample_rate, embedder.metadata.clip_samples
        self._embedder = embedder
        self._head = head
        self._windows = WindowStream(sample_rate=rate, clip_samples=clip, hop_samples=round(config.hop_s * rate))
        self._detector = Detector(head.sounds, clip / rate, config)
        self._end_s = 0.0
        self.counts = Counts()

    def push(self, block: Block) -> list[SoundEvent]:
        """Take a block of any length and rate; return the events that started or ended with it."""
        out: list[SoundEvent] = []
        if block.n_lost:
            self.counts.lost_s += block.n_lost / block.sample_rate
            out += self._detector.finish(self._end_s)
        self.counts.heard_s += block.waveform.size / block.sample_rate
        self._end_s = block.end_sample / block.sample_rate
        windows = self._windows.push(block.waveform, block.sample_rate, block.start_sample)
        levels = [level_dbfs(waveform) for waveform in windows.waveforms]
        loud = np.array([level > GATE_DBFS for level in levels], dtype=bool)
        self.counts.n_windows += len(windows)
        self.counts.n_embedded += int(loud.sum())
        scores = iter(self._head.score(self._embedder.embed(windows.waveforms[loud])))
        for is_loud, level, start_s in zip(loud, levels, windows.start_s, strict=True):
            out += self._detector.push(next(scores) if is_loud else None, float(start_s), level)
        return out

    def finish(self) -> list[SoundEvent]:
        """The source ended: end the events that still last."""
        return self._detector.finish(self._end_s)
