"""The bundled clip whose embedding is stored, as the test and the script that stores it read it."""

from pathlib import Path

import numpy as np

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.demo.stream import bundled_clips

STORED = Path(__file__).parent / "shipped_embedding.json"


def stored_clip(clip_samples: int, sample_rate: int) -> FloatArray:
    """The second of the first bundled bark that holds the most energy, in steps of a tenth: (clip_samples,)."""
    waveform = read_audio(bundled_clips("enrol")["dog_bark"][0], sample_rate)
    waveform = np.pad(waveform, (0, max(0, clip_samples - len(waveform))))
    starts = range(0, len(waveform) - clip_samples + 1, sample_rate // 10)
    best = max(starts, key=lambda start: float(np.square(waveform[start : start + clip_samples]).sum()))
    return waveform[best : best + clip_samples]
