"""From one recording of a sound to the windows that teach it: find where the sound is, then vary how it may be met."""

from collections.abc import Sequence

import numpy as np
import soxr

from device_app.arrays import FloatArray
from device_app.errors import AudioError
from device_app.listening.window_stream import level_dbfs

_FRAME_S = 0.02
_SILENT_DBFS = -60.0
"""A recording whose loudest 20 ms stay below this holds nothing to learn from."""
_MIN_SOUND_S = 0.04
"""Shorter than this it is a click of the recorder, not a sound."""
_WINDOW_STEP_S = 0.125
"""Half the hop of listening, so that each offset that listening can meet is close to one that was taught."""
_LEAST_ENERGY = 0.25
"""Windows that hold this share of the energy that the best one holds are kept: a sound that has just begun counts."""
_NOISE_SNR_DB = 20.0
"""More noise in what is taught makes more of the background be taken for it: `make bench-stream`."""
_SPEED = 1.03
"""Half a semitone."""
N_VARIANTS = 3
"""Each window comes so often: all of them clean first, then all played a little faster or slower, then with noise."""
MAX_SOUND_S = 60.0
"""A longer recording is a day, not an example."""
MAX_BACKGROUND_WINDOWS = 240
"""Windows kept of one recording of the room: two minutes of them."""
MAX_WINDOWS = 12
"""Windows kept of one recording: a long one must not outweigh the others."""


def find_sound(waveform: FloatArray, sample_rate: int) -> tuple[int, int]:
    """Where the sound of a recording starts and ends.

    A frame of 20 ms belongs to the sound if it is within 30 dB of the loudest one and stands out from the quiet tenth
    of the recording; in an even sound every frame does.

    Args:
        waveform: (n_samples,) float32 in [-1, 1].
        sample_rate: Hz.

    Returns:
        First sample of the sound and the one behind its last.

    Raises:
        AudioError: If the recording is silent or its sound is only a click.
    """
    frame = max(1, int(_FRAME_S * sample_rate))
    n_frames = len(waveform) // frame
    if len(waveform) > MAX_SOUND_S * sample_rate:
        raise AudioError(
            f"it is {len(waveform) / sample_rate:.0f} s long, more than {MAX_SOUND_S:.0f} s: cut the sound out of it"
        )
    if n_frames < round(_MIN_SOUND_S / _FRAME_S):
        raise AudioError(f"it is only {len(waveform) / sample_rate:.3f} s long: record at least a quarter of a second")
    power = np.mean(np.square(waveform[: n_frames * frame].reshape(n_frames, frame), dtype=np.float64), axis=1)
    level_db = 10.0 * np.log10(power + 1e-12)
    peak_db = float(level_db.max())
    if peak_db < _SILENT_DBFS:
        raise AudioError(
            f"it is silent (loudest moment {peak_db:.0f} dBFS): check the microphone, or record closer to the sound"
        )
    quiet_db = float(np.quantile(level_db, 0.1))
    active = np.flatnonzero(level_db >= max(peak_db - 30.0, min(quiet_db + 8.0, peak_db - 12.0)))
    return int(active[0]) * frame, min(int(active[-1] + 1) * frame, len(waveform))


def example_windows(
    waveform: FloatArray,
    sample_rate: int,
    clip_samples: int,
    rng: np.random.Generator,
    *,
    room: Sequence[FloatArray] = (),
    vary_pitch: bool = True,
) -> FloatArray:
    """Windows that a listener could meet when this sound is made.

    Windows slide over the sound; those that hold at least a quarter of the energy that the best one holds are kept, at
    most :data:`MAX_WINDOWS` of them, evenly spread. Each comes clean, a little higher and faster or lower and slower,
    and with noise. Levels need no variants: the model normalises each window.

    Args:
        waveform: (n_samples,) float32 in [-1, 1]; shorter than a window is fine.
        sample_rate: Hz.
        clip_samples: Samples of a window.
        rng: Source of what is drawn.
        room: Recordings of the room, (n_samples,) each, for noise; without them it is coloured noise.
        vary_pitch: Whether another pitch and tempo is the same sound; else these windows are clean ones again.

    Returns:
        (n_windows, clip_samples) float32, at least one window.

    Raises:
        AudioError: If there is no sound in the recording.
    """
    start, end = find_sound(waveform, sample_rate)
    padded = np.pad(waveform, clip_samples)
    first, last = (
        start + clip_samples // 4,
        end + clip_samples * 3 // 4,
    )  # in the padded waveform: 3/4 before to 3/4 after
    offsets = np.arange(first, max(first + 1, last - clip_samples // 2), int(_WINDOW_STEP_S * sample_rate))
    windows = np.stack([padded[offset : offset + clip_samples] for offset in offsets])
    energy = np.square(windows, dtype=np.float64).sum(axis=1)
    kept = np.flatnonzero(energy >= _LEAST_ENERGY * energy.max())
    if len(kept) > MAX_WINDOWS:
        kept = kept[np.linspace(0, len(kept) - 1, MAX_WINDOWS).round().astype(int)]
    windows = windows[kept]
    varied = windows
    if vary_pitch:
        rates = [_SPEED if faster else 1.0 / _SPEED for faster in rng.random(len(kept)) < 0.5]
        varied = np.stack(
            [_played(padded, int(offsets[i]), clip_samples, by) for i, by in zip(kept, rates, strict=True)]
        )
    noisy = [add_noise(window, _room_noise(room, clip_samples, rng), _NOISE_SNR_DB) for window in windows]
    return np.concatenate([windows, varied, np.stack(noisy)]).astype(np.float32)


def _played(padded: FloatArray, offset: int, n_samples: int, speed: float) -> FloatArray:
    """(n_samples,) of a waveform around the window at ``offset``, played ``speed`` times as fast."""
    middle, half = offset + n_samples / 2, speed * n_samples / 2
    first = max(0, int(middle - half) - 1)
    played = soxr.resample(padded[first : int(middle + half) + 2], speed, 1.0)[:n_samples]
    return np.pad(played, (0, n_samples - len(played))).astype(np.float32)


def _room_noise(room: Sequence[FloatArray], n_samples: int, rng: np.random.Generator) -> FloatArray:
    """(n_samples,) of unit power: a random part of a recording of the room, or coloured noise if none is usable."""
    usable = [recording for recording in room if len(recording) >= n_samples]
    if not usable:
        return coloured_noise(n_samples, rng)
    recording = usable[int(rng.integers(len(usable)))]
    first = int(rng.integers(len(recording) - n_samples + 1))
    part = recording[first : first + n_samples]
    power = float(np.mean(np.square(part, dtype=np.float64)))
    return part / np.float32(np.sqrt(power)) if power > 1e-9 else coloured_noise(n_samples, rng)


def background_windows(waveform: FloatArray, clip_samples: int) -> FloatArray:
    """Windows of a recording of the room, evenly spread, whatever is in them.

    Args:
        waveform: (n_samples,) float32 in [-1, 1]; a shorter one than a window is padded with zeros.
        clip_samples: Samples of a window.

    Returns:
        (n_windows, clip_samples) float32, 1 to :data:`MAX_BACKGROUND_WINDOWS` of them.
    """
    padded = np.pad(waveform, (0, max(0, clip_samples - len(waveform))))
    last = len(padded) - clip_samples
    n_windows = min(MAX_BACKGROUND_WINDOWS, 1 + 2 * last // clip_samples)
    return np.stack([padded[offset : offset + clip_samples] for offset in np.linspace(0, last, n_windows).astype(int)])


def coloured_noise(n_samples: int, rng: np.random.Generator) -> FloatArray:
    """(n_samples,) float32 noise of unit power whose density falls as 1/f^a, a drawn from [0, 2]: white to brown."""
    n_fft = 1 << (n_samples - 1).bit_length()  # any other length may take a hundred times as long
    spectrum = np.fft.rfft(rng.standard_normal(n_fft))
    frequency = np.maximum(np.arange(len(spectrum)), 1.0)
    noise = np.fft.irfft(spectrum * frequency ** (-rng.uniform(0.0, 2.0) / 2.0), n_fft)[:n_samples]
    return (noise / np.sqrt(np.mean(noise**2) + 1e-12)).astype(np.float32)


def add_noise(window: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Mix (n,) noise of unit power into a window so that the window lies ``snr_db`` above it."""
    gain = 10.0 ** ((level_dbfs(window) - snr_db) / 20.0)
    return (window + np.float32(gain) * noise).astype(np.float32)
