"""What is amiss with a recording, and the one thing to do about it: clipped, quiet, hum, cut off, and the like."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.enrolment.example_windows import find_sound
from device_app.errors import AudioError

Code = Literal["unusable", "clipped", "too_quiet", "too_short", "cut_off", "hum", "unlike", "sounds_like"]

_CLIPPED_LEVEL = 0.9
_CLIPPED_RUN = 3
"""Samples in a row that are equal and the largest there are: a converter at its end, or a limiter."""
_CLIPPED_RUNS = 2
_QUIET_DBFS = -45.0
"""Loudest 20 ms below this: the microphone's own noise is then part of the sound."""
_SHORT_S = 0.1
_FRAME_S = 0.02
_START_S = 0.002
_START_DB = 15.0
"""A sound that is within this of its loudest 20 ms in the first 2 ms began before the recording did: even a file that
was cut right at an onset begins fainter (`make bench-takes`)."""
_EVEN_DB = 20.0
"""A recording whose level varies by less has no start that could be cut off."""
_HUM_S = 0.3
"""Least length of background to look for hum in: mains lines are then told from their neighbours."""
_HUM_HARMONICS = 6
_HUM_LINE_HZ = 4.0
_HUM_ABOVE_DB = 15.0
"""How far the lines stand out of what is between them."""
_HUM_BELOW_SOUND_DB = 30.0
"""Hum that is fainter than this beside the sound does no harm."""
_HUM_DBFS = -65.0
"""Nor does hum that is as faint as this."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is amiss with a recording."""

    code: Code
    sentence: str
    """What it is, and what to do."""

    @property
    def useless(self) -> bool:
        """Whether nothing can be learned from the recording."""
        return self.code == "unusable"


def examine(waveform: FloatArray, sample_rate: int, background: FloatArray | None = None) -> list[Finding]:
    """Look at the signal of one recording of a sound.

    Args:
        waveform: (n_samples,) float32 in [-1, 1].
        sample_rate: Hz.
        background: (n,) float32 of the same microphone without the sound; None to take what surrounds the sound.

    Returns:
        What is amiss; if nothing can be learned from it, that alone.
    """
    try:
        start, end = find_sound(waveform, sample_rate)
    except AudioError as err:
        return [Finding("unusable", str(err))]
    frame = max(1, round(_FRAME_S * sample_rate))
    levels = _levels_db(waveform, frame)
    out = []
    if _is_clipped(waveform):
        out.append(Finding("clipped", "it is clipped: go farther from the microphone, or turn its gain down"))
    if levels.max() < _QUIET_DBFS:
        out.append(
            Finding("too_quiet", f"it is quiet ({levels.max():.0f} dBFS): go nearer, or turn the microphone's gain up")
        )
    if end - start < _SHORT_S * sample_rate:
        out.append(
            Finding("too_short", "it lasts less than a tenth of a second: record all of the sound, or several in a row")
        )
    first_db = _levels_db(waveform, max(1, round(_START_S * sample_rate)))[0]
    if first_db > levels.max() - _START_DB and levels.min() < levels.max() - _EVEN_DB:
        out.append(Finding("cut_off", "its start is cut off: begin recording a moment before the sound"))
    around = _longest(waveform[:start], waveform[end:]) if background is None else background
    hum = find_hum(around, sample_rate)
    if hum is not None and hum[1] > max(float(levels.max()) - _HUM_BELOW_SOUND_DB, _HUM_DBFS):
        out.append(
            Finding(
                "hum", f"mains hum of {hum[0]} Hz is in it: move the microphone or its cable away from power supplies"
            )
        )
    return out


def find_hum(background: FloatArray, sample_rate: int) -> tuple[int, float] | None:
    """Mains hum in a recording without the sound.

    The lines at the multiples of the mains frequency are compared with what lies halfway between them.

    Args:
        background: (n,) float32.
        sample_rate: Hz.

    Returns:
        50 or 60 (Hz), and the level of its lines in dBFS (RMS); None if no hum stands out, or too little was given.
    """
    if len(background) < _HUM_S * sample_rate or not np.any(background):
        return None
    window = np.hanning(len(background))
    power = np.abs(np.fft.rfft(background * window)) ** 2 * 2.0 / np.sum(window**2) / len(background)
    frequency = np.fft.rfftfreq(len(background), 1.0 / sample_rate)
    best: tuple[float, int, float] | None = None
    for mains in (50, 60):
        lines = between = 0.0
        n_clear = 0
        for harmonic in range(1, _HUM_HARMONICS + 1):
            line = _band(power, frequency, mains * harmonic)
            gap = _band(power, frequency, mains * (harmonic + 0.5))
            n_clear += line > gap * 10.0 ** (_HUM_ABOVE_DB / 10.0)
            lines, between = lines + line, between + gap
        above_db = 10.0 * float(np.log10((lines + 1e-15) / (between + 1e-15)))
        if n_clear >= 2 and above_db > _HUM_ABOVE_DB and (best is None or above_db > best[0]):
            best = above_db, mains, 10.0 * float(np.log10(lines + 1e-15))
    return None if best is None else best[1:]


def _band(power: NDArray[np.float64], frequency: NDArray[np.floating[Any]], centre_hz: float) -> float:
    return float(power[np.abs(frequency - centre_hz) <= _HUM_LINE_HZ].sum())


def _is_clipped(waveform: FloatArray) -> bool:
    peak = float(np.abs(waveform).max())
    if peak < _CLIPPED_LEVEL:
        return False
    n_runs = 0
    for sign in (1.0, -1.0):
        top = sign * waveform
        at_top = np.concatenate([[False], top >= np.float32(peak * (1.0 - 1e-4)), [False]])
        edges = np.flatnonzero(np.diff(at_top.astype(np.int8)))
        n_runs += int(np.sum(edges[1::2] - edges[::2] >= _CLIPPED_RUN))
    return n_runs >= _CLIPPED_RUNS


def _levels_db(waveform: FloatArray, frame: int) -> FloatArray:
    whole = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    return np.asarray(10.0 * np.log10(np.mean(np.square(whole, dtype=np.float64), axis=1) + 1e-12), dtype=np.float32)


def _longest(*parts: FloatArray) -> FloatArray:
    return max(parts, key=len)
