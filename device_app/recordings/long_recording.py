"""Sounds out of a long recording: at moments that are named, or the loudest that stand out. It is read in pieces."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from device_app.arrays import FloatArray
from device_app.enrolment.profile_files import NewRecording
from device_app.errors import AudioError

_FRAME_S = 0.02
_PIECE_S = 10.0
"""The background is the quiet tenth of a piece of this length and of the ones beside it."""
_ABOVE_DB = 10.0
"""A sound stands out of the background by this."""
_SILENT_DBFS = -60.0
_PAUSE_S = 0.4
"""Shorter pauses belong to the sound."""
_SHORTEST_S = 0.06
_LONGEST_S = 10.0
"""Of what is cut out; a longer sound is shown by its first part."""
_MARGIN_S = 0.3
"""Kept on both sides."""
_NEAR_S = 1.0
"""How far a moment that is named may lie from the sound that is meant."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of a recording that stands out of its background."""

    start_s: float
    end_s: float
    level_dbfs: float
    """Of its loudest 20 ms."""
    above_db: float
    """How far that stands out of the background."""


def find_moments(path: Path) -> list[Moment]:
    """Everything that stands out in a recording of any length, in the order of time.

    Raises:
        AudioError: If it cannot be read.
    """
    with _open(path) as file:
        return _moments(_levels(file, 0.0, file.frames / file.samplerate), 0.0)


def cut_out(path: Path, at_s: float) -> NewRecording:
    """The sound at a moment of a recording, with a little of what surrounds it.

    Raises:
        AudioError: If the recording cannot be read, is shorter, or nothing stands out there.
    """
    with _open(path) as file:
        length_s = file.frames / file.samplerate
        if not 0.0 <= at_s < length_s:
            raise AudioError(f"{path} is {length_s:.1f} s long: there is no moment at {at_s:g} s")
        first_s = max(0.0, at_s - 1.5 * _PIECE_S)
        moments = _moments(_levels(file, first_s, at_s + 1.5 * _PIECE_S + _LONGEST_S), first_s)
        moment = min(moments, key=lambda entry: _distance(entry, at_s), default=None)
        if moment is None or _distance(moment, at_s) > _NEAR_S:
            raise AudioError(
                f"nothing stands out of the background within {_NEAR_S:g} s of {at_s:g} s in {path}: look for sounds "
                "with `earmark enrol --propose`"
            )
    return cut_moment(path, moment)


def cut_moment(path: Path, moment: Moment) -> NewRecording:
    """A stretch of a recording that :func:`find_moments` found, with a little of what surrounds it.

    Raises:
        AudioError: If the recording cannot be read.
    """
    with _open(path) as file:
        rate = file.samplerate
        start = round(max(0.0, moment.start_s - _MARGIN_S) * rate)
        end = round((min(moment.end_s, moment.start_s + _LONGEST_S) + _MARGIN_S) * rate)
        file.seek(start)
        waveform = _mono(file, end - start)
    return NewRecording(waveform, rate, f"{path} at {moment.start_s:.1f} s")


def _open(path: Path) -> sf.SoundFile:
    try:
        return sf.SoundFile(os.fsencode(path))
    except (OSError, sf.SoundFileError) as err:
        reason = "no such file" if not path.exists() else "not audio that soundfile can read (WAV, FLAC, OGG, MP3)"
        raise AudioError(f"cannot read {path}: {reason}; check the file or convert it to WAV") from err


def _mono(file: sf.SoundFile, n_samples: int) -> FloatArray:
    samples = file.read(n_samples, dtype="float32", always_2d=True).mean(axis=1, dtype=np.float32)
    return np.nan_to_num(samples, posinf=0.0, neginf=0.0)


def _levels(file: sf.SoundFile, start_s: float, end_s: float) -> FloatArray:
    """(n_frames,) levels in dBFS of the frames of 20 ms between two times."""
    frame = max(1, round(_FRAME_S * file.samplerate))
    file.seek(round(start_s / _FRAME_S) * frame)
    left = round((end_s - start_s) / _FRAME_S)
    levels = [np.zeros(0, np.float32)]
    while left > 0:
        samples = _mono(file, min(left, round(_PIECE_S / _FRAME_S)) * frame)
        n_frames = len(samples) // frame
        if n_frames == 0:
            break
        power = np.mean(np.square(samples[: n_frames * frame].reshape(n_frames, frame), dtype=np.float64), axis=1)
        levels.append((10.0 * np.log10(power + 1e-12)).astype(np.float32))
        left -= n_frames
    return np.concatenate(levels)


def _moments(levels_db: FloatArray, first_s: float) -> list[Moment]:
    """What stands out of (n_frames,) levels, the first of which is at ``first_s``."""
    background_db = _background(levels_db)
    loud = np.flatnonzero((levels_db > background_db + _ABOVE_DB) & (levels_db > _SILENT_DBFS))
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) > _PAUSE_S / _FRAME_S)
    out = []
    for run in np.split(loud, breaks + 1):
        first, end = int(run[0]), int(run[-1]) + 1
        if (end - first) * _FRAME_S < _SHORTEST_S - 1e-9:
            continue
        peak = first + int(np.argmax(levels_db[first:end]))
        out.append(
            Moment(
                round(first_s + first * _FRAME_S, 2),
                round(first_s + end * _FRAME_S, 2),
                round(float(levels_db[peak]), 1),
                round(float(levels_db[peak] - background_db[peak]), 1),
            )
        )
    return out


def _background(levels_db: FloatArray) -> FloatArray:
    """Level of the background at each frame: the quiet tenth of its piece, or of a neighbour if that is lower."""
    size = round(_PIECE_S / _FRAME_S)
    n_pieces = max(1, len(levels_db) // size)  # what is left over belongs to the last piece
    quiet = np.array(
        [
            np.quantile(levels_db[i * size : (i + 1) * size if i + 1 < n_pieces else None], 0.1)
            for i in range(n_pieces if len(levels_db) else 0)
        ],
        dtype=np.float32,
    )
    if not len(quiet):
        return quiet
    padded = np.pad(quiet, 1, mode="edge")
    lowest = np.minimum(np.minimum(padded[:-2], quiet), padded[2:])
    return lowest[np.minimum(np.arange(len(levels_db)) // size, n_pieces - 1)]


def _distance(moment: Moment, at_s: float) -> float:
    return max(moment.start_s - at_s, at_s - moment.end_s, 0.0)
