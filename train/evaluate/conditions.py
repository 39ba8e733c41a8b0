"""What becomes of a sound on its way to the microphone: noise, a room, a level, another sampling rate.

Taught from clean clips, asked about changed ones. Each change takes (n_samples,) float32 samples, their rate in Hz and
a generator, and returns as many samples.
"""

from functools import partial

import numpy as np
import numpy.typing as npt
import soxr
import torch
from scipy.signal import fftconvolve

from train.augment.noise import add_noise
from train.evaluate.embedding import Change

FloatArray = npt.NDArray[np.float32]

_PINK = 0.5
"""Exponent of the amplitude: power falls as 1 / f."""


def noise(samples: FloatArray, sample_rate: int, rng: np.random.Generator, *, snr_db: float) -> FloatArray:
    """Add pink noise ``snr_db`` below the clip's mean power."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    row = torch.from_numpy(samples)[None]
    return add_noise(row, torch.tensor([snr_db]), torch.tensor([_PINK]), generator)[0].numpy()


def reverberation(samples: FloatArray, sample_rate: int, rng: np.random.Generator, *, decay_s: float) -> FloatArray:
    """Put the clip into a room whose sound falls by 60 dB in ``decay_s``, as strong as the direct sound.

    The room's answer is noise under an exponential (Polack's model), another one for each clip.
    """
    n = round(decay_s * sample_rate)
    tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    tail *= 1 / np.sqrt(np.sum(tail**2))
    answer = np.concatenate([[1.0], tail])
    return np.asarray(fftconvolve(samples, answer)[: len(samples)], dtype=np.float32)


def level(samples: FloatArray, sample_rate: int, rng: np.random.Generator, *, gain_db: float) -> FloatArray:
    """Make it louder or softer than full scale, cut it off there, and round it to 16 bits as a sound card does."""
    loud = np.clip(samples * 10 ** (gain_db / 20), -1, 1)
    return np.asarray(np.round(loud * 32767) / 32767, dtype=np.float32)


def narrow_band(samples: FloatArray, sample_rate: int, rng: np.random.Generator, *, through: int) -> FloatArray:
    """Record it at ``through`` Hz, so that what lies above half of that is gone."""
    there = soxr.resample(samples, sample_rate, through)
    back = soxr.resample(there, through, sample_rate)[: len(samples)]
    return np.pad(back, (0, len(samples) - len(back))).astype(np.float32)


CONDITIONS: dict[str, Change] = {
    "noise, SNR 20 dB": partial(noise, snr_db=20.0),
    "noise, SNR 10 dB": partial(noise, snr_db=10.0),
    "noise, SNR 0 dB": partial(noise, snr_db=0.0),
    "room, 0.4 s": partial(reverberation, decay_s=0.4),
    "room, 1.0 s": partial(reverberation, decay_s=1.0),
    "level -50 dB": partial(level, gain_db=-50.0),
    "level +12 dB, clipped": partial(level, gain_db=12.0),
    "recorded at 8 kHz": partial(narrow_band, through=8000),
}
"""By the name in the report. Clips are near full scale before."""
