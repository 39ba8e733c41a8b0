"""Short made-up sounds to train on: tones, noises and clicks, a folder each."""

import sys
from pathlib import Path

import numpy as np
import soundfile

from tests.train.tiny import RATE


def write_sounds(folder: Path, n_sounds: int) -> Path:
    """Write recordings of 0.1 to 0.9 s into a folder of each kind."""
    rng = np.random.default_rng(0)
    for i in range(n_sounds):
        n = int(rng.integers(1600, 14400))
        t = np.arange(n) / RATE
        kind = ("tones", "noises", "clicks")[i % 3]
        if kind == "tones":
            x = np.sin(2 * np.pi * rng.uniform(200, 3000) * t)
        elif kind == "noises":
            x = rng.standard_normal(n) * 0.2
        else:
            x = np.where(np.arange(n) % 800 < 20, 1.0, 0.0) * rng.uniform(0.2, 1)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / kind / f"{i:02d}.wav", 0.5 * x, RATE)
    return folder


if __name__ == "__main__":
    write_sounds(Path(sys.argv[1]), 96)
