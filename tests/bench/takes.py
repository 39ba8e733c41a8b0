"""How often a recording is rightly and wrongly said to be unlike its siblings, like another sound, or cut off.

`make bench-takes`. Recordings of four public sets; five sounds are taught at a time. A right recording is one more of
the sound that is being taught, a wrong one is of a sound that is not taught, a swapped one of another that is.
"""

import csv
import json
import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from device_app.audio_file import read_audio
from device_app.enrolment.example_windows import find_sound
from device_app.enrolment.head import Examples
from device_app.errors import AudioError
from device_app.model.embedder import Embedder, load_embedder
from device_app.recordings.neighbours import Neighbours
from device_app.recordings.take_findings import examine

SETS = ("esc10", "fsdd", "gm-instruments", "orca-calls")
N_SOUNDS = 5
N_TAUGHT = 5
"""Recordings of each sound that is taught."""
N_CLIPS = 20
"""Recordings of a class that are used."""
N_EPISODES = 300
RATE = 16000


def clips_of(folder: Path, rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Waveforms at 16 kHz of each class that has enough of them."""
    paths: dict[str, list[Path]] = defaultdict(list)
    with (folder / "clips.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            paths[row["class"]].append(folder / row["file"])
    chosen = {name: [found[i] for i in rng.permutation(len(found))[:N_CLIPS]] for name, found in sorted(paths.items())}
    return {
        name: [read_audio(path, RATE) for path in found] for name, found in chosen.items() if len(found) > N_TAUGHT + 1
    }


def embeddings_of(waveform: np.ndarray, embedder: Embedder) -> np.ndarray | None:
    """Embeddings of the windows around the loudest moments; None of a recording without a sound."""
    try:
        start, end = find_sound(waveform, RATE)
    except AudioError:
        return None
    clip = embedder.metadata.clip_samples
    padded = np.pad(waveform[start:end], (clip // 4, clip))
    last = len(padded) - clip
    windows = [padded[i : i + clip] for i in np.linspace(0, last, 1 + min(3, 2 * last // clip)).astype(int)]
    return embedder.embed(np.stack(windows))


def comparisons(embedded: dict[str, list[np.ndarray]], bank: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Shares of right, wrong and swapped recordings that are told of, with four siblings and with none."""
    told: dict[str, list[bool]] = defaultdict(list)
    names = sorted(embedded)
    for _ in range(N_EPISODES):
        *taught, stranger = rng.permutation(names)[: min(N_SOUNDS + 1, len(names))]
        order = {name: rng.permutation(len(embedded[name])) for name in taught}
        target, other = taught[0], taught[1]

        def pick(name: str, number: int, sound: str = "", order: dict[str, np.ndarray] = order) -> Examples:
            return Examples(sound or name, f"{name}{number}", embedded[name][order[name][number]])

        known = Neighbours(bank, [pick(name, i) for name in taught[1:] for i in range(N_TAUGHT)])
        told["first, right"].append(bool(known.judge(pick(target, 0))))
        told["first, swapped"].append(bool(known.judge(pick(other, N_TAUGHT, target))))
        for i in range(N_TAUGHT - 1):
            known.add(pick(target, i))
        told["fifth, right"].append(bool(known.judge(pick(target, N_TAUGHT))))
        told["fifth, swapped"].append(bool(known.judge(pick(other, N_TAUGHT, target))))
        wrong = Examples(target, "wrong", embedded[stranger][rng.integers(len(embedded[stranger]))])
        told["fifth, wrong"].append(bool(known.judge(wrong)))
    return {name: round(float(np.mean(answers)), 3) for name, answers in sorted(told.items())}


def cuts(waveforms: list[np.ndarray]) -> dict[str, float]:
    """Shares of recordings that are said to be cut off: as they are, and without the first third of their sound."""
    told: dict[str, list[bool]] = defaultdict(list)
    for waveform in waveforms:
        try:
            start, end = find_sound(waveform, RATE)
        except AudioError:
            continue
        for name, cut in (("as it is", waveform), ("cut", waveform[start + (end - start) // 3 :])):
            told[name].append(any(finding.code == "cut_off" for finding in examine(cut, RATE)))
    return {f"cut off, {name}": round(float(np.mean(answers)), 3) for name, answers in told.items()}


def main() -> int:
    """Print one JSON object for each set: shares of recordings that are told of."""
    root = Path(os.environ.get("EARMARK_SHARED") or "../shared") / "data" / "fewshot"
    if not root.is_dir():
        print(f"error: no labelled sets at {root}: set EARMARK_SHARED to the folder above data/", file=sys.stderr)
        return 1
    embedder = load_embedder()
    bank = embedder.background()
    for name in SETS:
        rng = np.random.default_rng(0)
        clips = clips_of(root / name, rng)
        embedded = {
            sound: [rows for waveform in waveforms if (rows := embeddings_of(waveform, embedder)) is not None]
            for sound, waveforms in clips.items()
        }
        enough = {sound: rows for sound, rows in embedded.items() if len(rows) > N_TAUGHT}
        shares = comparisons(enough, bank, rng) | cuts([waveform for found in clips.values() for waveform in found])
        print(json.dumps({"set": name} | shares), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
