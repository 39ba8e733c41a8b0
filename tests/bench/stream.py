"""How well sounds are heard in streams, over many random choices of sounds: `make bench-stream`.

Each draw is the demo with other recordings: from all of ESC-10, five of each taught sound are enrolled, others are heard
among sounds that were never taught, over rain and sea. A recording is enrolled or heard, never both.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio, resample
from device_app.demo.stream import NATIVE_RATE, SAMPLE_RATE, Occurrence, mix_stream
from device_app.embedder import Embedder
from device_app.enrolment.example_windows import example_windows
from device_app.enrolment.head import Examples
from device_app.listening.window_stream import WindowStream, level_dbfs
from export.demo_clips import BACKGROUND, TAUGHT, UNTAUGHT

N_ENROL, N_STREAM, N_UNTAUGHT, N_BACKGROUND = 5, 10, 6, 4


@dataclass(frozen=True, slots=True)
class Draw:
    """One random choice, with everything embedded once, so that heads and settings can be compared quickly."""

    examples: tuple[Examples, ...]
    embeddings: FloatArray
    start_s: FloatArray
    level_dbfs: FloatArray
    occurrences: tuple[Occurrence, ...]
    stream_s: float


def make_draw(esc10: Path, embedder: Embedder, seed: int) -> Draw:
    """Choose sounds and recordings, mix the stream, embed both."""
    rng = np.random.default_rng(seed)
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    with (esc10 / "clips.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            groups[row["class"]][row["group"]].append(esc10 / row["file"])

    def pick(sound: str, n_clips: int) -> list[Path]:
        """One clip of each of ``n_clips`` recordings, which are then used up."""
        chosen = rng.permutation(sorted(groups[sound]))[:n_clips]
        return [sorted(groups[sound].pop(str(group)))[0] for group in chosen]

    clip_samples, rate = embedder.metadata.clip_samples, embedder.metadata.sample_rate
    examples = tuple(
        Examples(sound, path.stem, embedder.embed(example_windows(read_audio(path, rate), rate, clip_samples, rng)))
        for sound in TAUGHT
        for path in pick(sound, N_ENROL)
    )
    stream = mix_stream(
        {sound: pick(sound, N_STREAM) for sound in TAUGHT},
        {sound: pick(sound, N_UNTAUGHT) for sound in UNTAUGHT},
        [path for sound in BACKGROUND for path in pick(sound, N_BACKGROUND)],
        rng,
    )
    windows = WindowStream(sample_rate=rate, clip_samples=clip_samples, hop_samples=rate // 4).push(
        resample(stream.waveform, SAMPLE_RATE, NATIVE_RATE), NATIVE_RATE, 0
    )
    return Draw(
        examples,
        embedder.embed(windows.waveforms),
        windows.start_s,
        np.array([level_dbfs(waveform) for waveform in windows.waveforms]),
        stream.occurrences,
        len(stream.waveform) / SAMPLE_RATE,
    )
