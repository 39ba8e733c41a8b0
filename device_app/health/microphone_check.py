"""Whether what a microphone delivers is fit to listen to."""

from dataclasses import dataclass

import numpy as np

from device_app.arrays import FloatArray
from device_app.capture import Block, Capture, MicrophoneSource
from device_app.errors import DeviceError
from device_app.listening.window_stream import level_dbfs

_CLIPPED = 0.999
"""Of full scale: as far as a sample can go."""
_MOST_CLIPPED_SHARE = 0.001
_QUIETEST_DBFS = -85.0
"""A microphone's own noise is louder than this; a muted one's is not."""
_MAINS_HZ = (50.0, 60.0)
_N_HARMONICS = 6
_HUM_DB = 20.0
"""How far the mains' harmonics may stand above what lies between them."""
_MOST_HUM_SHARE = 0.5
"""Of the power, that they may hold."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A few seconds from a microphone."""

    waveform: FloatArray
    """(n_samples,) float32 in [-1, 1]."""
    sample_rate: int
    n_lost: int
    """Samples lost meanwhile."""


def take_sample(source: MicrophoneSource, seconds: float) -> Sample:
    """Record.

    Raises:
        DeviceError: If the microphone cannot be opened or delivers nothing.
    """
    blocks: list[Block] = []
    with Capture(source) as capture:
        while sum(block.waveform.size / block.sample_rate for block in blocks) < seconds:
            blocks += [item for item in capture.read(1.0) if isinstance(item, Block)]
    # Before the first block there is no knowing what was lost.
    return Sample(
        np.concatenate([block.waveform for block in blocks]),
        blocks[0].sample_rate,
        sum(block.n_lost for block in blocks[1:]),
    )


def judge(sample: Sample) -> str:
    """Describe a sample.

    Raises:
        DeviceError: If it is not fit; the sentence says what to do.
    """
    waveform, rate = sample.waveform, sample.sample_rate
    level = level_dbfs(waveform - waveform.mean())
    if not waveform.any():
        raise DeviceError(
            "it delivers nothing but zeros: unmute it, or check its cable and the sound server's settings"
        )
    if level < _QUIETEST_DBFS:
        raise DeviceError(
            f"it is almost silent ({level:.0f} dBFS): turn its capture level up (alsamixer), or unmute it"
        )
    clipped = float(np.mean(np.abs(waveform) >= _CLIPPED))
    if clipped > _MOST_CLIPPED_SHARE:
        raise DeviceError(f"{clipped:.1%} of its samples are cut off at full scale: turn its capture level down")
    hum = hum_hz(waveform, rate)
    if hum is not None:
        raise DeviceError(
            f"it hums at {hum:.0f} Hz and multiples: move it and its cable away from mains leads, or try another "
            "USB socket or power supply"
        )
    if sample.n_lost:
        raise DeviceError(
            f"{sample.n_lost / rate:.2f} s were lost within {waveform.size / rate:.0f} s: close what else keeps this "
            "machine busy, or use another USB socket"
        )
    offset = float(waveform.mean())
    about = f"{rate} Hz, level {level:.0f} dBFS, peak {20.0 * np.log10(np.abs(waveform).max()):.0f} dBFS"
    return about + (f", offset {offset:+.2f}" if abs(offset) > 0.01 else "") + ", no clipping, no hum, nothing lost"


def hum_hz(waveform: FloatArray, sample_rate: int) -> float | None:
    """The mains frequency that a (n_samples,) waveform is full of, Hz; None if there is none."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(waveform.size))) ** 2
    hz = np.fft.rfftfreq(waveform.size, 1.0 / sample_rate)
    total = spectrum[hz > 20.0].sum()
    for mains in _MAINS_HZ:
        distance = np.abs(hz - mains * np.clip(np.rint(hz / mains), 1, _N_HARMONICS))
        on = distance < 1.5
        between = (distance > 5.0) & (hz > mains / 2.0) & (hz < mains * (_N_HARMONICS + 0.5))
        stands_out_db = 10.0 * np.log10((spectrum[on].mean() + 1e-20) / (spectrum[between].mean() + 1e-20))
        if stands_out_db > _HUM_DB and spectrum[on].sum() > _MOST_HUM_SHARE * total:
            return mains
    return None
