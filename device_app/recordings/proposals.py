"""What in a long recording may be the sound that is meant: its loudest distinct events, for the person to pick from."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rich.box
import rich.console
import rich.table

from device_app.arrays import FloatArray
from device_app.audio_file import resample
from device_app.enrolment.example_windows import example_windows
from device_app.errors import AudioError
from device_app.model.embedder import Embedder
from device_app.recordings.long_recording import Moment, cut_moment, find_moments

_N_LOOKED_AT = 60
"""Moments that are embedded, the ones that stand out most: a day has thousands."""
_ALIKE = 0.8
"""Cosine from which two moments are taken for the same sound."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A moment, and the others that sound like it."""

    moment: Moment
    alike_s: tuple[float, ...]
    """Starts of the others, the one that stands out most first."""

    @property
    def all_s(self) -> list[float]:
        """Starts of all of them."""
        return [self.moment.start_s, *self.alike_s]

    def to_json(self) -> str:
        """One line of ``--propose``; ``at_s`` is what ``--at`` takes."""
        return json.dumps({"at_s": self.moment.start_s, **asdict(self.moment), "alike_s": self.alike_s})


def propose(path: Path, embedder: Embedder, n_proposals: int = 10) -> list[Proposal]:
    """The distinct sounds of a recording that stand out most of its background.

    Raises:
        AudioError: If the recording cannot be read, or nothing stands out in it.
    """
    moments = sorted(find_moments(path), key=lambda moment: moment.above_db, reverse=True)[:_N_LOOKED_AT]
    if not moments:
        raise AudioError(f"nothing stands out of the background in {path}: record closer to the sound")
    vectors = np.stack([_vector(path, moment, embedder) for moment in moments])
    left = list(range(len(moments)))
    out: list[Proposal] = []
    while left and len(out) < n_proposals:
        first = left.pop(0)
        alike = [i for i in left if vectors[first] @ vectors[i] > _ALIKE]
        left = [i for i in left if i not in alike]
        out.append(Proposal(moments[first], tuple(moments[i].start_s for i in alike)))
    return out


def _vector(path: Path, moment: Moment, embedder: Embedder) -> FloatArray:
    """(size,) float32 of unit length: the mean of a moment's embeddings."""
    cut = cut_moment(path, moment)
    rate = embedder.metadata.sample_rate
    windows = example_windows(
        resample(cut.waveform, cut.sample_rate, rate), rate, embedder.metadata.clip_samples, np.random.default_rng(0)
    )
    mean = embedder.embed(windows).mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)


def print_proposals(proposals: Sequence[Proposal], console: rich.console.Console) -> None:
    """A numbered table."""
    table = rich.table.Table("", "at", "lasts", "level", "above background", "alike", box=rich.box.SIMPLE_HEAD)
    for number, proposal in enumerate(proposals, 1):
        moment = proposal.moment
        minutes, seconds = divmod(moment.start_s, 60.0)
        table.add_row(
            str(number),
            f"{int(minutes // 60)}:{int(minutes % 60):02d}:{seconds:04.1f}",
            f"{moment.end_s - moment.start_s:.1f} s",
            f"{moment.level_dbfs:.0f} dBFS",
            f"{moment.above_db:.0f} dB",
            f"{len(proposal.alike_s)} more" if proposal.alike_s else "",
        )
    console.print(table)


def pick(sound: str, proposals: Sequence[Proposal], ask: Callable[[str], str]) -> list[float]:
    """Ask which of the proposals are the sound, until the answer is one.

    Args:
        sound: What is to be picked.
        proposals: As they were shown, numbered from 1.
        ask: Shows a question and returns the answer.

    Returns:
        Moments in seconds; none if the person picked none.
    """
    question = f"Which are '{sound}'? Numbers, like 1,3; 2+ also takes all that are alike; Enter for none: "
    while True:
        answer = ask(question).replace(" ", "")
        parts = [part for part in answer.split(",") if part]
        if all(re.fullmatch(r"\d+\+?", part) and 1 <= int(part.rstrip("+")) <= len(proposals) for part in parts):
            break
        question = f"Give numbers from 1 to {len(proposals)}, with commas between them: "
    picked: list[float] = []
    for part in parts:
        proposal = proposals[int(part.rstrip("+")) - 1]
        picked += proposal.all_s if part.endswith("+") else [proposal.moment.start_s]
    return list(dict.fromkeys(picked))
