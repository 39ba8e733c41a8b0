"""Pitch and tempo by a phase vocoder, batched, with a rate of each row's own.

Output frame k of a row is the source's frame at time k * hop * rate. How far its phases move on from those of output
frame k - 1 is measured in the source itself, between that frame and the one a hop before it (Laroche and Dolson 1999,
doi 10.1109/89.759041, eq. 5, with both hops alike), so that no phase is unwrapped, no spectrum interpolated, and the
cost does not depend on the rate. Pitch is shifted by reading the source faster or slower and stretching it back.

Shapes: B rows, T samples, S source samples, N frames, K = N_FFT // 2 + 1 bins.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

N_FFT = 768
HOP = N_FFT // 2
ONSET_RATIO = 1.5
"""A frame with this many times the energy of the one a hop before, or of the last that was put out, starts with its own
phases: attacks stay sharp."""

_LEAD, _TRAIL = N_FFT + HOP, N_FFT
"""Silence before and behind a row; before it, one hop more for the frames before the first."""
_BLOCK = 256
"""Samples that are read at a time."""
_NOTHING = 1e-15
"""Added to a bin, so that its phase is 0 where there is nothing."""
_MARGIN = 8
"""Silent points on both sides of what a cubic is read from."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of any length, one behind the other, each with silence around it for windows that reach beyond its ends."""

    samples: Tensor
    """(total,) float32."""
    first: Tensor
    """(B,) int64: where each row's first sample lies."""
    length: Tensor
    """(B,) int64: samples of each row."""


def stretch(source: Tensor, rate: Tensor, start: Tensor, n_samples: int) -> Tensor:
    """Play each row at ``rate`` times its tempo, its pitch unchanged.

    Args:
        source: (B, S) float32; silence is assumed around it.
        rate: (B,) above 1 is faster.
        start: (B,) time in the source, in samples, that the output begins at; may be negative.
        n_samples: T.

    Returns:
        (B, T) float32.
    """
    n_rows, length = source.shape
    padded = F.pad(source, (_LEAD, _TRAIL))
    first = torch.arange(n_rows, device=source.device) * padded.shape[1] + _LEAD
    return _stretch_rows(Rows(padded.flatten(), first, torch.full_like(first, length)), rate, start, n_samples)


def _stretch_rows(source: Rows, rate: Tensor, start: Tensor, n_samples: int) -> Tensor:
    device = source.samples.device
    window = torch.hann_window(N_FFT, device=device).sqrt_()  # twice, half a window apart, its squares add up to 1
    n_frames = -(-n_samples // HOP) + 1
    centre = torch.arange(n_frames, device=device)[:, None] * HOP * rate + start  # (N, B): frames come first
    # Frames that lie wholly outside read zeros.
    centre = centre.round().long().clamp(min=-N_FFT // 2).minimum(source.length + N_FFT // 2)
    every = source.samples.unfold(0, N_FFT, 1)  # a view of all windows at all positions
    place = centre + (source.first - N_FFT // 2)
    now = _spectra(every, place, window)  # (N, B, K) each
    before = _spectra(every, place - HOP, window)
    power, power_before = (torch.mul(re, re).addcmul_(im, im) for re, im in (now, before))
    energy = power.sum(2)  # (N, B)
    onset = energy > ONSET_RATIO * power_before.sum(2)
    onset[1:] |= energy[1:] > ONSET_RATIO * energy[:-1]
    onset[0] = True
    # Unit phasor of now * conj(before); 1 where there is nothing.
    re = torch.mul(now[0], before[0]).addcmul_(now[1], before[1]).add_(_NOTHING)
    im = torch.mul(now[1], before[0]).addcmul_(now[0], before[1], value=-1)
    del before
    inverse = torch.mul(re, re).addcmul_(im, im).rsqrt_()
    phasor = torch.complex(re.mul_(inverse), im.mul_(inverse))
    del re, im

    frame, row = onset.nonzero(as_tuple=True)  # in order of frames
    inverse = torch.rsqrt(power[frame, row] + _NOTHING**2)
    own = torch.complex((now[0][frame, row] + _NOTHING) * inverse, now[1][frame, row] * inverse)  # as in the source
    n_onsets = onset.sum(dim=1).tolist()
    by_frame = phasor.unbind()
    for k, (rows, phases) in enumerate(zip(torch.split(row, n_onsets), torch.split(own, n_onsets), strict=True)):
        if k:  # over frames; all rows at once
            by_frame[k].mul_(by_frame[k - 1])
        if n_onsets[k]:
            by_frame[k].index_copy_(0, rows, phases)
    frames = torch.fft.irfft(phasor.mul_(power.sqrt_()), n=N_FFT).mul_(window)  # (N, B, N_FFT)
    return _overlap_add(frames)[:, N_FFT // 2 : N_FFT // 2 + n_samples]


def _spectra(windows: Tensor, first: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part, (N, B, K) each, of the windows at the (N, B) positions ``first``."""
    frames = windows.index_select(0, first.flatten()).mul_(window)
    spectrum = torch.fft.rfft(frames).view(*first.shape, -1)
    return spectrum.real.contiguous(), spectrum.imag.contiguous()  # planes: their arithmetic vectorises


def shift_pitch(waveform: Tensor, semitones: Tensor) -> Tensor:
    """Multiply all frequencies of each row by ``2 ** (semitones / 12)``, its duration unchanged.

    Args:
        waveform: (B, T) float32.
        semitones: (B,) any real numbers.
    """
    ratio = torch.exp2(semitones / 12)
    return _stretch_rows(read_faster(waveform, ratio), 1 / ratio, torch.zeros_like(ratio), waveform.shape[1])


def read_faster(waveform: Tensor, ratio: Tensor) -> Rows:
    """Resample each row so that it plays ``ratio`` times as fast, without aliasing.

    Band-limited below the new Nyquist frequency and doubled in rate by FFT, then interpolated by cubic polynomials.

    Returns:
        Rows of ceil(T / ratio) samples.
    """
    n_rows, n_samples = waveform.shape
    device = waveform.device
    n_fft = 2 ** math.ceil(math.log2(n_samples + 256))  # silence keeps the ends apart in the circular transform
    padded = waveform.new_zeros(n_rows, n_fft)
    padded[:, _MARGIN // 2 : _MARGIN // 2 + n_samples] = waveform
    spectrum = torch.fft.rfft(padded)
    frequency = torch.linspace(0, 1, spectrum.shape[1], device=device)[None]  # 1 is Nyquist's
    gain = ((1 / ratio[:, None].clamp(min=1) - frequency) / 0.05 + 1).clamp_(0, 1).mul_(2)
    points = torch.fft.irfft(spectrum.mul_(gain), n=2 * n_fft)  # the first sample is at _MARGIN
    # Silence before and behind, so that positions outside the clip need no treatment of their own.
    n_inside = 2 * n_samples + 2
    points[:, : _MARGIN - 1] = 0.0  # but for the point before the first, which a cubic needs
    points[:, _MARGIN + n_inside :] = 0.0
    length = torch.ceil(n_samples / ratio).long()
    # In blocks, so that what differs from row to row is looked up once a block.
    n_blocks = (length + (_LEAD + _TRAIL + _BLOCK - 1)) // _BLOCK
    first_block = n_blocks.cumsum(0) - n_blocks
    row = torch.repeat_interleave(n_blocks)  # (blocks,)
    begin = ((torch.arange(len(row), device=device) - first_block[row]) * _BLOCK - _LEAD).float()[:, None]
    time = begin + torch.arange(_BLOCK, dtype=torch.float32, device=device)  # (blocks, _BLOCK)
    position = time.mul_((2 * ratio)[row, None]).clamp_(2 - _MARGIN, n_inside + _MARGIN - 4)
    whole = position.floor()
    t = position.sub_(whole).flatten()
    left = whole.int().add_((row * points.shape[1] + (_MARGIN - 1)).int()[:, None]).flatten()
    flat = points.flatten()
    taps = [flat[tap:].index_select(0, left) for tap in range(4)]
    return Rows(_cubic(taps[0], taps[1], taps[2], taps[3], t), first_block * _BLOCK + _LEAD, length)


def _cubic(a: Tensor, b: Tensor, c: Tensor, d: Tensor, t: Tensor) -> Tensor:
    """Value at ``t`` between b (0) and c (1) of the cubic polynomial through four evenly spaced points.

    Newton's form on b, c, a, d; what is passed is overwritten.
    """
    first = c - b
    d.sub_(c).sub_(first)  # second difference at c
    second = a.sub_(b).add_(first)  # and at b
    third = d.sub_(second)
    value = second.addcmul_(third, t.add_(1), value=1 / 3)
    value = first.addcmul_(value, t.sub_(2), value=1 / 2)
    return b.addcmul_(value, t.add_(1))


def _overlap_add(frames: Tensor) -> Tensor:
    """Sum (N, B, N_FFT) frames HOP, half of their length, apart: (B, (N + 1) * HOP)."""
    n_frames, n_rows, _ = frames.shape
    total = frames.new_empty(n_rows, n_frames + 1, HOP)
    first, second = frames[..., :HOP].transpose(0, 1), frames[..., HOP:].transpose(0, 1)
    torch.add(first[:, 1:], second[:, :-1], out=total[:, 1:-1])
    total[:, 0], total[:, -1] = first[:, 0], second[:, -1]
    return total.flatten(1)
