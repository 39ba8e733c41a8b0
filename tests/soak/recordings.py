"""The audio of a soak: a folder whose files come one after another, most of them the same hour."""

from pathlib import Path

import numpy as np
import soundfile as sf

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.demo.stream import bundled_clips

RATE = 16000
FIRST_HOUR = "000-hour.wav"


def hour(seconds: float, rng: np.random.Generator) -> FloatArray:
    """(n,) float32: a quiet room with bursts of taught and other sounds, and a stretch of digital silence."""
    n_samples = int(seconds * RATE)
    wave = (rng.standard_normal(n_samples) * 1e-3).astype(np.float32)
    sounds = [path for part in ("enrol", "untaught") for paths in bundled_clips(part).values() for path in paths]
    position = 5 * RATE
    while True:
        clip = read_audio(sounds[int(rng.integers(len(sounds)))], RATE)
        clip *= np.float32(rng.uniform(0.05, 0.5) / np.abs(clip).max())
        if position + len(clip) > n_samples - 5 * RATE:
            break
        wave[position : position + len(clip)] += clip
        position += len(clip) + int(rng.uniform(5.0, 40.0) * RATE)
    silent = n_samples // 2
    wave[silent : silent + n_samples // 20] = 0.0
    return np.clip(wave, -1.0, 1.0)


def write_day(folder: Path, waveform: FloatArray, n_hours: int) -> list[float]:
    """Write the folder: so many hours, and between some of them a file that is broken or turns into NaN.

    Returns:
        Where on the source's clock each hour starts, seconds.
    """
    folder.mkdir()
    first = folder / FIRST_HOUR
    sf.write(first, waveform, RATE, subtype="PCM_16")
    length_s = len(waveform) / RATE
    starts_s, at_s = [], 0.0
    for i in range(n_hours):
        if i:
            (folder / f"{i:03d}-hour.wav").symlink_to(first.name)
        starts_s.append(at_s)
        at_s += length_s
        if i % 3 == 1:
            (folder / f"{i:03d}-z-broken.wav").write_bytes(b"RIFF and then nothing")
        if i % 3 == 2:
            spoilt = np.random.default_rng(i).standard_normal(41 * RATE // 10).astype(np.float32) * 1e-3
            spoilt[-100:] = np.nan
            sf.write(folder / f"{i:03d}-z-nan.wav", spoilt, RATE, subtype="FLOAT")
            at_s += 4.0  # the block with the NaN is not delivered
    return starts_s
