"""The clip whose embeddings prove on any machine that a model computes what was exported: made here, nobody's."""

import numpy as np

from device_app.arrays import Int16Array


def golden_clip(clip_samples: int, sample_rate: int) -> Int16Array:
    """A struck bar, a rising call and a hiss, one after the other, over faint noise.

    Returns:
        (clip_samples,) int16, the same wherever it is made to within one step of rounding.
    """
    rng = np.random.default_rng(5)
    t = np.arange(clip_samples) / sample_rate
    span = clip_samples / sample_rate
    # partials of a free bar (Rayleigh, The Theory of Sound, 1877, section 170): 1 : 2.756 : 5.404
    struck = sum(
        gain * np.sin(2 * np.pi * 440 * ratio * t) * np.exp(-decay * t)
        for ratio, gain, decay in ((1.0, 0.5, 6.0), (2.756, 0.3, 9.0), (5.404, 0.2, 14.0))
    )
    u = np.clip((t / span - 0.4) / 0.3, 0.0, 1.0)
    phase = 2 * np.pi * 0.3 * span * (600 * u + 700 * u**2)
    call = 0.4 * np.sin(np.pi * u) ** 2 * np.sin(phase + 0.5 * np.sin(3 * phase))
    hiss = 0.2 * np.clip((t / span - 0.7) / 0.1, 0.0, 1.0) * rng.standard_normal(clip_samples)
    clip = struck + call + hiss + 0.002 * rng.standard_normal(clip_samples)
    return np.rint(clip / np.abs(clip).max() * 0.7 * 32767).astype(np.int16)
