"""Twin sounds: one sound at two pitches or two speeds, many takes of each, as two doorbells of one make would be."""

import csv

import librosa
import numpy as np
import soxr

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.enrolment.example_windows import add_noise, coloured_noise, example_windows
from device_app.model.embedder import Embedder
from tests.bench.labelled_clips import LabelledClips, sets_folder

SEMITONES = 2.0
"""Between twins that differ in pitch."""
STRETCH = 1.25
"""Between twins that differ in speed."""
N_TAKES = 9
_SOURCES = (("gm-instruments", 12), ("esc10", 12))
"""Sets, and how many clips of each, of different classes as far as they go."""
_LIVELY = ("dog_bark", "rooster", "person_sneeze", "baby_cry", "clock_tick")
"""Classes of ESC-10 whose sounds have a pitch or a tempo of their own."""


def _bases(rate: int) -> list[FloatArray]:
    """Sounds of at most two seconds."""
    out = []
    for name, n_clips in _SOURCES:
        with (sets_folder() / name / "clips.csv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if name != "esc10" or row["class"] in _LIVELY]
        rng = np.random.default_rng(11)
        out += [
            read_audio(sets_folder() / name / rows[i]["file"], rate)[: 2 * rate]
            for i in rng.permutation(len(rows))[:n_clips]
        ]
    return [waveform for waveform in out if np.abs(waveform).max() > 1e-2]


def take(base: FloatArray, rate: int, *, kind: str, second: bool, rng: np.random.Generator) -> FloatArray:
    """One take of one twin: its own tiny deviation, place, tilt of the spectrum and noise.

    Args:
        base: (n,) the sound.
        rate: Hz.
        kind: ``pitch`` (two semitones up, and shorter, as a smaller bell) or ``speed`` (stretched, pitch kept).
        second: Whether it is the second twin.
        rng: Decides all else.
    """
    varied = soxr.resample(base, rate * float(rng.uniform(0.995, 1.005)), rate)
    if second and kind == "pitch":
        varied = soxr.resample(varied, rate * 2.0 ** (SEMITONES / 12.0), rate)
    if second and kind == "speed":
        varied = librosa.effects.time_stretch(varied, rate=STRETCH)
    tilt = float(rng.uniform(-0.4, 0.4))
    tilted = varied + tilt * np.concatenate([[0.0], varied[:-1]])
    padded = np.pad(tilted, tuple(rng.integers(rate // 10, rate // 2, 2))).astype(np.float32)
    return add_noise(padded, coloured_noise(len(padded), rng), float(rng.uniform(12.0, 30.0)))


def read_twins(kind: str, embedder: Embedder) -> list[LabelledClips]:
    """Pairs of twins, embedded: each a set of two classes."""
    rate, clip_samples = embedder.metadata.sample_rate, embedder.metadata.clip_samples
    pairs = []
    for number, base in enumerate(_bases(rate)):
        rng = np.random.default_rng((21, number))
        windows = []
        for second in (False, True):
            for _ in range(N_TAKES):
                waveform = take(base, rate, kind=kind, second=second, rng=rng)
                windows.append(embedder.embed(example_windows(waveform, rate, clip_samples, rng)))
        label = np.repeat([0, 1], N_TAKES)
        pairs.append(
            LabelledClips(
                f"twins: {kind} {number}", label, np.arange(2 * N_TAKES), windows, np.zeros((2 * N_TAKES, 128))
            )
        )
    return pairs
