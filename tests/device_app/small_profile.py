"""Profiles that are fitted in no time, for tests of files and not of ears: bursts of tones at the tiny model's rate."""

from pathlib import Path

import numpy as np
import soundfile as sf

from device_app.arrays import FloatArray
from device_app.enrolment.profile_files import NewRecording

RATE = 1600


def burst(seed: int) -> FloatArray:
    """Half a second: a tone of its own between two stretches of faint noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(RATE // 5) / RATE
    tone = 0.3 * np.sin(2 * np.pi * (100 + 20 * (seed % 25)) * t)
    quiet = rng.normal(0, 1e-3, RATE // 6)
    return np.concatenate([quiet, tone, quiet]).astype(np.float32)


def bursts(first: int, n: int) -> list[NewRecording]:
    return [NewRecording(burst(seed), RATE, f"burst{seed}.wav") for seed in range(first, first + n)]


def write_bursts(folder: Path, first: int, n: int) -> Path:
    folder.mkdir(parents=True)
    for seed in range(first, first + n):
        sf.write(folder / f"burst{seed}.wav", burst(seed), RATE)
    return folder


def snapshot(profile: Path) -> dict[str, bytes]:
    """Every file of a profile that means something."""
    return {
        str(path.relative_to(profile)): path.read_bytes()
        for path in sorted(profile.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
