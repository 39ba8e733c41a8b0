"""Running the system's programs, and the one recipe that all parts of the corpus follow."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from train.errors import CorpusError

RATE = 16_000
"""Hz of the clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides which clips come out; a change makes every package anew."""

    version: int = 4
    """Raised when the code makes other clips of the same sources."""
    seed: int = 0
    clip_s: float = 10.0
    """Longest clip."""
    least_s: float = 0.3
    """Shorter ones are left out."""
    music_excerpts: int = 12
    """Most excerpts of one piece of music, anywhere in it."""
    long_excerpts: int = 60
    """Most clips of any other long file, one behind the other."""
    notes_per_preset: int = 24
    """Single notes rendered with each preset of a SoundFont."""
    phrases_per_preset: int = 4
    """Short phrases likewise."""
    max_files: int = 0
    """Files taken of a package, for a quick try; 0 takes all."""


class MissingProgramError(CorpusError):
    """A program that is not installed: no fault of the file at hand, so the file must not be left out for it."""


def run(command: list[str], stdin: bytes | None = None, cwd: Path | None = None) -> bytes:
    """Standard output of a program.

    Raises:
        MissingProgramError: If it is not installed.
        CorpusError: If it fails.
    """
    try:
        return subprocess.run(command, input=stdin, cwd=cwd, check=True, capture_output=True).stdout
    except FileNotFoundError as err:
        raise MissingProgramError(f"{command[0]} is not installed: apt-get install {command[0]}") from err
    except subprocess.CalledProcessError as err:
        tail = err.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise CorpusError(f"`{' '.join(command[:4])}` failed: {' | '.join(tail)}") from err
