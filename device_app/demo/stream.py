"""The demo's stream: bundled recordings at random moments and levels over a background of rain, sea and noise."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from device_app.arrays import FloatArray
from device_app.audio_file import find_audio, read_audio
from device_app.enrolment.example_windows import coloured_noise, find_sound
from device_app.listening.window_stream import level_dbfs

SAMPLE_RATE = 16000
"""Hz, of the bundled clips."""
NATIVE_RATE = 48000
"""Hz, at which the stream is written: what a sound card would deliver."""
_BACKGROUND_DBFS = (-52.0, -40.0)
"""Range in which the background's level wanders."""
_SNR_DB = (10.0, 30.0)
"""How far a sound's loudest tenth of a second lies above the background, from across the flat to in the room."""
_GAP_S = (2.0, 9.0)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A sound in the stream."""

    sound: str
    taught: bool
    start_s: float
    end_s: float
    snr_db: float
    clip: str


@dataclass(frozen=True, slots=True)
class Stream:
    """What is played, and what is in it."""

    waveform: FloatArray
    """(n_samples,) float32 at :data:`SAMPLE_RATE`."""
    occurrences: tuple[Occurrence, ...]


def bundled_clips(part: str) -> dict[str, list[Path]]:
    """Sounds and clips of one part of the bundled demo: ``enrol``, ``stream``, ``untaught`` or ``background``."""
    with as_file(files("device_app") / "data" / "demo" / part) as folder:
        return {entry.name: find_audio(entry) for entry in sorted(folder.iterdir()) if entry.is_dir()}


def credits_by_licence() -> dict[str, int]:
    """How many of the bundled clips are under which licence."""
    counts: dict[str, int] = {}
    with (files("device_app") / "data" / "demo" / "CREDITS.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts[row["licence"]] = counts.get(row["licence"], 0) + 1
    return counts


def mix_stream(
    taught: dict[str, list[Path]],
    untaught: dict[str, list[Path]],
    background: Sequence[Path],
    rng: np.random.Generator,
) -> Stream:
    """Mix a stream in which every clip occurs once.

    Args:
        taught: Recordings of the taught sounds, others than those enrolled.
        untaught: Recordings of sounds that nobody taught.
        background: Recordings that go on underneath, in turn.
        rng: Decides order, moments and levels.
    """
    clips = [(sound, path, True) for sound, paths in taught.items() for path in paths]
    clips += [(sound, path, False) for sound, paths in untaught.items() for path in paths]
    order = [clips[i] for i in rng.permutation(len(clips))]
    placed: list[tuple[FloatArray, Occurrence, int]] = []
    position = 5.0
    for sound, path, is_taught in order:
        waveform = read_audio(path, SAMPLE_RATE)
        start, end = find_sound(waveform, SAMPLE_RATE)
        at = int(position * SAMPLE_RATE)
        snr_db = float(rng.uniform(*_SNR_DB))
        occurrence = Occurrence(
            sound, is_taught, (at + start) / SAMPLE_RATE, (at + end) / SAMPLE_RATE, snr_db, path.name
        )
        placed.append((waveform, occurrence, at))
        position += len(waveform) / SAMPLE_RATE + float(rng.uniform(*_GAP_S))
    mixed, gain_dbfs = _background(background, int((position + 2.0) * SAMPLE_RATE), rng)
    for waveform, occurrence, at in placed:
        gain_db = gain_dbfs[at] + occurrence.snr_db - _loudest_dbfs(waveform)
        mixed[at : at + len(waveform)] += waveform * np.float32(10.0 ** (gain_db / 20.0))
    return Stream(np.clip(mixed, -1.0, 1.0), tuple(occurrence for _, occurrence, _ in placed))


def _background(paths: Sequence[Path], n_samples: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Recordings faded into one another over coloured noise; (n_samples,) waveform and (n_samples,) level in dBFS."""
    fade = SAMPLE_RATE
    mixed = np.zeros(n_samples + 10 * SAMPLE_RATE, np.float32)
    recordings = [read_audio(path, SAMPLE_RATE) for path in paths]
    position = 0
    while position < n_samples:
        waveform = recordings[int(rng.integers(len(recordings)))]
        waveform = waveform * np.float32(10.0 ** (-level_dbfs(waveform) / 20.0))
        ramp = np.sin(np.linspace(0.0, np.pi / 2.0, fade, dtype=np.float32))
        waveform[:fade] *= ramp
        waveform[-fade:] *= ramp[::-1]
        mixed[position : position + len(waveform)] += waveform
        position += len(waveform) - fade
    mixed = mixed[:n_samples] + coloured_noise(n_samples, rng)
    mixed /= np.sqrt(np.mean(np.square(mixed, dtype=np.float64))).astype(np.float32)
    n_knots = max(2, n_samples // (30 * SAMPLE_RATE))
    knots = rng.uniform(*_BACKGROUND_DBFS, n_knots)
    gain_dbfs = np.interp(np.linspace(0, n_knots - 1, n_samples), np.arange(n_knots), knots).astype(np.float32)
    return (mixed * 10.0 ** (gain_dbfs / 20.0)).astype(np.float32), gain_dbfs


def _loudest_dbfs(waveform: FloatArray) -> float:
    frame = SAMPLE_RATE // 10
    frames = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    return max(level_dbfs(row) for row in frames)
