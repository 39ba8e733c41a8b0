"""A DET curve as an SVG file: misses against false alarms a day, one line for each sound.

Written by hand because the device does without matplotlib: it and what it needs would add a quarter to the environment.
"""

import math
from collections.abc import Sequence
from html import escape

from device_app.tuning.curve import Curve

_WIDTH, _HEIGHT = 640, 440
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 30, 610, 380
_MISSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99)
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito 2008


def det_svg(curves: Sequence[Curve]) -> str:
    """The chart; misses on a probit scale, as is usual (Martin et al., Eurospeech 1997), false alarms on a log scale.

    Args:
        curves: Of sounds that are labelled. No false alarm at all is drawn at the left edge, at half of the least
            rate that the recording can show.
    """
    least = 86400.0 / max(curve.heard_s for curve in curves)
    most = max(max(curve.false_per_day(point) for point in curve.points) for curve in curves)
    low, high = math.log10(least / 2), math.ceil(math.log10(max(most, least)))

    def x(per_day: float) -> float:
        return _LEFT + (math.log10(max(per_day, least / 2)) - low) / (high - low) * (_RIGHT - _LEFT)

    def y(missed: float) -> float:
        low_z, high_z = _probit(0.005), _probit(0.995)
        return _BOTTOM - (_probit(min(max(missed, 0.005), 0.995)) - low_z) / (high_z - low_z) * (_BOTTOM - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    ticks = [(10.0**exponent, f"{10.0**exponent:g}") for exponent in range(math.ceil(low), high + 1)]
    for per_day, text in [(least / 2, "none"), *ticks]:
        at = x(per_day)
        parts.append(f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{text}</text>')
    for missed in _MISSES:
        at = y(missed)
        parts.append(f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{_RIGHT}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{missed * 100:g} %</text>')
    middle = (_LEFT + _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_BOTTOM + 42}" text-anchor="middle">false alarms a day</text>')
    parts.append(
        f'<text x="16" y="{(_TOP + _BOTTOM) / 2}" transform="rotate(-90 16 {(_TOP + _BOTTOM) / 2})" '
        'text-anchor="middle">missed</text>'
    )
    for i, curve in enumerate(curves):
        colour = _COLOURS[i % len(_COLOURS)]
        corners = [(x(curve.false_per_day(point)), y(curve.missed_share(point) or 0.0)) for point in curve.points]
        line = " ".join(f"{across:.1f},{down:.1f}" for across, down in corners)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{_RIGHT - 6}" y="{_TOP + 18 + 16 * i}" text-anchor="end" fill="{colour}">'
            f"{escape(curve.sound)} ({curve.n_labelled})</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _probit(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))
