"""Tells cheaply whether anything stands out from the room, so that the network is spared what does not."""

import numpy as np

from device_app.arrays import FloatArray

_FRAME_S = 0.032
_EDGES_HZ = (60.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
"""Bands: what is quieter than the room may still stand out in one of them."""
_MARGIN_DB = (2.5, 9.0)
"""How far a band must rise above its floor: at least, and at most."""
_SPREADS = 4.5
"""The same between those two, in multiples of how much the band wavers by itself."""
_SETTLE_S = 2.0
"""Time in which the floor follows the room while nothing stands out, seconds."""
_YIELD_S = 20.0
"""The same while something does: a noise that stays becomes the room."""
_LEARN_S = 1.0
"""At first, everything stands out."""
_PAUSE_S = 0.5
"""What stands out again after a longer pause than this began anew."""
_SILENT_DB = -110.0
"""In any band: digital silence, which says nothing about the room."""


class NoiseGate:
    """Follows the level of the room in a few frequency bands and notices what rises above it.

    Args:
        sample_rate: Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._frame = int(_FRAME_S * sample_rate)
        frequency = np.fft.rfftfreq(self._frame, 1.0 / sample_rate)
        edges = np.searchsorted(frequency, [edge for edge in _EDGES_HZ if edge <= sample_rate / 2.0])
        self._starts = edges[:-1]
        self._stop = int(edges[-1])
        self._taper = (np.hanning(self._frame) / self._frame).astype(np.float32)
        self._rest: FloatArray = np.zeros(0, np.float32)
        # Of six bands at a time Python makes less work than numpy.
        self._floor = [0.0] * len(self._starts)  # mean level of each band, dB
        self._spread = [_MARGIN_DB[0] / _SPREADS] * len(self._starts)  # mean distance from it
        self._n_learned = 0
        self._n_since_onset = self._n_since_last = 0
        self._n_learn = round(_LEARN_S / _FRAME_S)

    def push(self, waveform: FloatArray) -> bool:
        """Take what came since the last call.

        Args:
            waveform: (n,) float32 in [-1, 1]; what does not fill a frame is kept for the next call.

        Returns:
            Whether anything in it stands out.
        """
        self._rest = np.concatenate([self._rest, waveform])
        n_frames = len(self._rest) // self._frame
        frames = self._rest[: n_frames * self._frame].reshape(n_frames, self._frame)
        self._rest = self._rest[n_frames * self._frame :]
        spectrum = np.fft.rfft(frames * self._taper)[:, : self._stop]
        power = spectrum.real**2 + spectrum.imag**2
        bands = 10.0 * np.log10(np.add.reduceat(power, self._starts, axis=1) + 1e-13)
        stands_out = [self._take(level) for level in bands.tolist()]  # every frame is to be learned from
        return any(stands_out)

    @property
    def since_onset_s(self) -> float:
        """How long ago, before the end of what was pushed, that which stands out (or did at last) began to."""
        return (self._n_since_onset * self._frame + len(self._rest)) / self._sample_rate

    def _take(self, level: list[float]) -> bool:
        """One frame's levels in the bands, dB."""
        stands_out = self._learn(level)
        self._n_since_onset += 1
        self._n_since_last += 1
        if stands_out:
            if self._n_since_last * self._frame > _PAUSE_S * self._sample_rate:
                self._n_since_onset = 1
            self._n_since_last = 0
        return stands_out

    def _learn(self, level: list[float]) -> bool:
        if max(level) < _SILENT_DB:
            return False
        if self._n_learned < self._n_learn:
            self._n_learned += 1
            for band, of_band in enumerate(level):
                off = of_band - self._floor[band]
                self._floor[band] += off / self._n_learned
                if self._n_learned > 1:  # the first level is as far from nothing as it is high
                    self._spread[band] += (abs(off) - self._spread[band]) / self._n_learned
            return True
        stands_out = False
        for band, of_band in enumerate(level):
            above = of_band - self._floor[band]
            if above > min(max(_SPREADS * self._spread[band], _MARGIN_DB[0]), _MARGIN_DB[1]):
                stands_out = True
                self._floor[band] += _FRAME_S / _YIELD_S * above
            else:
                self._floor[band] += _FRAME_S / _SETTLE_S * above
                self._spread[band] += _FRAME_S / _SETTLE_S * (abs(above) - self._spread[band])
        return stands_out
