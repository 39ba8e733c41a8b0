"""From a stream of blocks at a device's own rate to overlapping windows at the model's rate."""

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from device_app.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows that one block completed."""

    waveforms: FloatArray
    """(n, clip_samples) float32 at the model's rate."""
    start_s: NDArray[np.float64]
    """(n,) where each window starts, seconds on the source's clock; below 0 if zeros lead it."""

    def __len__(self) -> int:
        return len(self.waveforms)


class WindowStream:
    """Cuts windows of ``clip_samples`` every ``hop_samples`` from whatever is pushed.

    The windows do not depend on how the stream is cut into blocks, unless they may be shifted. After a gap they start
    anew behind it, so that no window joins audio from both sides.

    Args:
        sample_rate: Hz, of the windows.
        clip_samples: Of a window.
        hop_samples: Between the starts of two.
        lead_samples: Zeros before what comes first and after a gap, so that the first window need not be waited for.
        shift_samples: How far a window may be shifted so that it ends with a block and holds all that has come. The
            following ones shift with it.
    """

    def __init__(
        self, *, sample_rate: int, clip_samples: int, hop_samples: int, lead_samples: int = 0, shift_samples: int = 0
    ) -> None:
        self._rate = sample_rate
        self._lead = lead_samples
        self._shift = shift_samples
        self._clip = clip_samples
        self._hop = hop_samples
        self._native_rate = 0
        self._resampler: soxr.ResampleStream | None = None
        self._expected = 0  # the next block's first sample on the source's clock, at the native rate
        self._buffer: FloatArray = np.zeros(0, np.float32)
        self._next = 0  # where the next window starts in the buffer, if it is not shifted
        self._start_gap(0, sample_rate)

    def push(self, waveform: FloatArray, native_rate: int, start_sample: int) -> Windows:
        """Take a block and return the windows that are now whole.

        Args:
            waveform: (n,) float32 mono in [-1, 1] at ``native_rate`` Hz; may be empty.
            native_rate: Hz. A change starts anew, like a gap.
            start_sample: Position of the block's first sample on the source's clock, at ``native_rate``.

        Returns:
            The windows completed by this block, oldest first; none is held back.
        """
        if native_rate != self._native_rate or start_sample != self._expected:
            self._start_gap(start_sample, native_rate)
        self._expected = start_sample + len(waveform)
        converted = self._resampler.resample_chunk(waveform) if self._resampler else waveform
        self._buffer = np.concatenate([self._buffer, np.asarray(converted, dtype=np.float32)])
        last = len(self._buffer) - self._clip  # where a window starts that ends with what has come
        at = self._shifted(list(range(self._next, last + 1, self._hop)), last)
        if not at:
            return Windows(np.zeros((0, self._clip), np.float32), np.zeros(0))
        waveforms = np.stack([self._buffer[start : start + self._clip] for start in at])
        windows = Windows(waveforms, self._origin_s + (self._position + np.array(at)) / self._rate)
        done = at[-1] + self._hop - self._shift
        self._buffer = self._buffer[done:]
        self._position += done
        self._next = self._shift
        return windows

    def _shifted(self, at: list[int], last: int) -> list[int]:
        """Starts of windows in the buffer, the last of them shifted to ``last`` or one more there, if that is near."""
        if at and last - at[-1] <= self._shift:
            return [*at[:-1], last]
        following = at[-1] + self._hop if at else self._next
        return [*at, last] if last >= 0 and following - last <= self._shift else at

    def _start_gap(self, start_sample: int, native_rate: int) -> None:
        self._native_rate = native_rate
        self._origin_s = start_sample / native_rate - self._lead / self._rate
        self._position = 0  # model-rate samples between the origin and the buffer's first one
        self._buffer = np.zeros(self._lead, np.float32)
        self._next = 0
        self._resampler = (
            None
            if native_rate == self._rate
            else soxr.ResampleStream(native_rate, self._rate, 1, dtype="float32", quality="HQ")
        )


def level_dbfs(waveform: FloatArray) -> float:
    """RMS level of a (n,) waveform in dB relative to a full-scale square wave; -120 for silence."""
    power = float(np.mean(np.square(waveform, dtype=np.float64))) if waveform.size else 0.0
    return max(-120.0, 10.0 * float(np.log10(power + 1e-12)))
