"""Pitch and tempo by a phase vocoder, batched, with a rate of each row's own.

Output frame k of a row is the source's frame at time k * hop * rate. How far its phases move on from those of output
frame k - 1 is measured in the source itself, between that frame and the one a hop before it (Laroche and Dolson 1999,
doi 10.1109/89.759041, eq. 5, with both hops alike), so that no phase is unwrapped, no spectrum interpolated, and the
cost does not depend on the rate. Pitch is shifted by reading the source faster or slower and stretching it back.

Shapes: B rows, T samples, S source samples, N frames, K = N_FFT // 2 + 1 bins.
"""

import math

import torch
from torch import Tensor

N_FFT = 768
HOP = 256
ONSET_RATIO = 1.5
"""A frame with this many times the energy of the one a hop before starts with its own phases: attacks stay sharp."""


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
    n_rows, n_source = source.shape
    window = torch.hann_window(N_FFT, device=source.device)
    n_frames = -(-n_samples // HOP) + 1
    centre = torch.arange(n_frames, device=source.device)[:, None] * HOP * rate + start  # (N, B): frames come first
    # Frames that lie wholly outside read zeros; one hop more on the left for the frames before them.
    centre = centre.round().long().clamp(-N_FFT // 2, n_source + N_FFT // 2)
    padded = torch.nn.functional.pad(source, (N_FFT + HOP, N_FFT))
    every = padded.flatten().unfold(0, N_FFT, 1)  # a view of all windows at all positions
    first = centre + (N_FFT + HOP - N_FFT // 2) + torch.arange(n_rows, device=source.device) * padded.shape[1]
    now = _spectra(every, first, window)  # (N, B, K) each
    before = _spectra(every, first - HOP, window)
    power, power_before = (torch.addcmul(re * re, im, im) for re, im in (now, before))
    inverse = torch.rsqrt(power + torch.finfo(torch.float32).tiny)
    own = torch.complex(now[0] * inverse, now[1] * inverse)
    # Unit phasor of now * conj(before); 1 where there is nothing.
    re = torch.addcmul(now[0] * before[0], now[1], before[1]).add_(1e-15)
    im = torch.addcmul(now[1] * before[0], now[0], before[1], value=-1)
    inverse_advance = torch.addcmul(re * re, im, im).rsqrt_()
    phasor = torch.complex(re.mul_(inverse_advance), im.mul_(inverse_advance))
    onset = (power.sum(2) > ONSET_RATIO * power_before.sum(2))[:, :, None]  # (N, B, 1)
    phasor[0] = own[0]
    has_onset = onset.any(dim=1)[:, 0].tolist()
    for k in range(1, n_frames):  # over frames; all rows at once
        phasor[k].mul_(phasor[k - 1])
        if has_onset[k]:
            phasor[k] = torch.where(onset[k], own[k], phasor[k])
    frames = torch.fft.irfft(phasor.mul_(power.mul_(inverse)), n=N_FFT).mul_(window)  # (N, B, N_FFT)
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
    faster = read_faster(waveform, ratio)
    return stretch(faster, 1 / ratio, torch.zeros_like(ratio), waveform.shape[1])


def read_faster(waveform: Tensor, ratio: Tensor) -> Tensor:
    """Resample each row so that it plays ``ratio`` times as fast, without aliasing.

    Band-limited below the new Nyquist frequency and doubled in rate by FFT, then interpolated by cubic polynomials.

    Returns:
        (B, ceil(T / min(ratio))) float32; a row is silent behind its end.
    """
    n_samples = waveform.shape[1]
    n_fft = 2 ** math.ceil(math.log2(n_samples + 256))  # silence keeps the ends apart in the circular transform
    spectrum = torch.fft.rfft(waveform, n=n_fft)
    frequency = torch.linspace(0, 1, spectrum.shape[1], device=waveform.device)[None]  # 1 is Nyquist's
    gain = ((1 / ratio[:, None].clamp(min=1) - frequency) / 0.05 + 1).clamp(0, 1)
    doubled = 2 * torch.fft.irfft(spectrum * gain, n=2 * n_fft)
    doubled = torch.cat([doubled[:, -1:], doubled], dim=1)  # the point before the first, which a cubic needs
    length = torch.ceil(n_samples / ratio)
    n_out = int(length.max())
    position = torch.arange(n_out, device=waveform.device)[None] * (2 * ratio[:, None])
    inside = position < 2 * n_samples
    position = torch.where(inside, position, 0.0)
    whole = position.floor()
    t = position - whole
    left = whole.long()
    taps = [torch.gather(doubled[:, tap:], 1, left) for tap in range(4)]
    return _cubic(taps[0], taps[1], taps[2], taps[3], t) * inside


def _cubic(a: Tensor, b: Tensor, c: Tensor, d: Tensor, t: Tensor) -> Tensor:
    """Value at ``t`` between b (0) and c (1) of the cubic polynomial through four evenly spaced points (Lagrange)."""
    third = (d - a) / 6 + (b - c) / 2
    second = (a + c) / 2 - b
    first = c - a / 3 - b / 2 - d / 6
    return ((third * t + second) * t + first) * t + b


def _overlap_add(frames: Tensor) -> Tensor:
    """Sum (N, B, N_FFT) frames HOP apart; two Hann windows at this overlap of three add up to 9/8."""
    n_frames, n_rows, _ = frames.shape
    overlap = N_FFT // HOP
    parts = frames.view(n_frames, n_rows, overlap, HOP)
    total = frames.new_zeros(n_rows, n_frames + overlap - 1, HOP)
    for part in range(overlap):
        total[:, part : part + n_frames] += parts[:, :, part].transpose(0, 1)
    return total.flatten(1) / 1.125
