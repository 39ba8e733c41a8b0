"""From any number of channels to one."""

import numpy as np

from device_app.arrays import FloatArray


def to_mono(frames: FloatArray, channel: int | None) -> FloatArray:
    """(n_samples, n_channels) float32 to (n_samples,) float32: one channel, or the mean of all."""
    if channel is not None:
        return np.ascontiguousarray(frames[:, channel])
    if frames.shape[1] == 1:
        return frames[:, 0].copy()
    if frames.shape[1] == 2:
        return (frames[:, 0] + frames[:, 1]) * np.float32(0.5)  # a tenth of the time that mean() takes
    return frames.mean(axis=1, dtype=np.float32)
