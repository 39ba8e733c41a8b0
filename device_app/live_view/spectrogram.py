"""A strip of the last seconds' spectrum, made of half blocks: two bands in each character."""

from collections import deque

import numpy as np
import rich.color
import rich.style
import rich.text

from device_app.arrays import FloatArray

_F_MIN, _F_MAX = 60.0, 8000.0
"""Hz."""
_DARKEST_DB, _BRIGHTEST_DB = -90.0, -25.0
"""Power of a band, relative to a full-scale square wave."""
_COLOURS = (
    "#000004",
    "#1b0c41",
    "#4a0c6b",
    "#781c6d",
    "#a52c60",
    "#cf4446",
    "#ed6925",
    "#fb9b06",
    "#f7d13d",
    "#fcffa4",
)
"""Of matplotlib's "inferno" (CC0), from dark to bright."""


class Spectrogram:
    """The last blocks as columns.

    Args:
        n_rows: Lines of text; each shows two bands.
        n_columns: Most blocks that are kept.
    """

    def __init__(self, n_rows: int, n_columns: int = 240) -> None:
        self._n_rows = n_rows
        self._columns: deque[list[int]] = deque(maxlen=n_columns)
        self._styles: dict[tuple[int, int], rich.style.Style] = {}

    def push(self, waveform: FloatArray, sample_rate: int) -> None:
        """Add a column.

        Args:
            waveform: (n_samples,) float32 in [-1, 1].
            sample_rate: Hz.
        """
        levels = band_levels(waveform, sample_rate, 2 * self._n_rows)
        shades = (levels - _DARKEST_DB) / (_BRIGHTEST_DB - _DARKEST_DB) * (len(_COLOURS) - 1)
        self._columns.append(np.clip(np.rint(shades), 0, len(_COLOURS) - 1).astype(int).tolist())

    def lines(self, width: int) -> list[rich.text.Text]:
        """The newest columns that fit, the newest at the right; the highest band first."""
        shown = list(self._columns)[-width:]
        lines = []
        for row in reversed(range(self._n_rows)):
            line = rich.text.Text(" " * (width - len(shown)))
            for column in shown:
                line.append("▀", self._style(column[2 * row + 1], column[2 * row]))
            lines.append(line)
        return lines

    def _style(self, above: int, below: int) -> rich.style.Style:
        key = (above, below)
        if key not in self._styles:
            self._styles[key] = rich.style.Style(
                color=rich.color.Color.parse(_COLOURS[above]), bgcolor=rich.color.Color.parse(_COLOURS[below])
            )
        return self._styles[key]


def band_levels(waveform: FloatArray, sample_rate: int, n_bands: int) -> FloatArray:
    """(n_bands,) level of each band in dBFS, the lowest first; the bands are equally wide on a log scale.

    A band that is narrower than the resolution shows the nearest frequency.
    """
    n = len(waveform)
    if n < 2:
        return np.full(n_bands, -120.0, np.float32)
    window = np.hanning(n)
    power = np.abs(np.fft.rfft(waveform * window)) ** 2 * 2.0 / (n * np.sum(window**2))
    edges = np.geomspace(_F_MIN, min(_F_MAX, sample_rate / 2), n_bands + 1) * n / sample_rate
    first = np.minimum(np.rint(edges[:-1]).astype(int), len(power) - 1)
    last = np.clip(np.rint(edges[1:]).astype(int), first + 1, len(power))
    total = np.concatenate([[0.0], np.cumsum(power)])
    return np.asarray(10.0 * np.log10(np.maximum(total[last] - total[first], 1e-12)), dtype=np.float32)
