"""The demo's bundled clips: chosen by a seed from ESC-10's CC0 and CC BY recordings, not by how well they are heard."""

import argparse
import csv
import random
from collections import defaultdict
from pathlib import Path

import soundfile as sf

TAUGHT = ("baby_cry", "dog_bark", "person_sneeze", "rooster")
"""ESC-10's sounds that come and go: what somebody would want to be told of."""
UNTAUGHT = ("chainsaw", "clock_tick", "fire_crackling", "helicopter")
BACKGROUND = ("rain", "sea_waves")
N_ENROL, N_STREAM, N_UNTAUGHT, N_BACKGROUND = 5, 10, 6, 3
CHANGES = "cut to 5 s by ESC-10 (K. J. Piczak, 2015); here 16 kHz mono Ogg Opus"
LICENCES = {"CC0": "CC0 1.0", "CC-BY": "CC BY 3.0"}


def build(esc10: Path, out: Path, seed: int = 0) -> int:
    """Copy clips as Ogg Opus with their credits; each comes from a Freesound recording of its own.

    Args:
        esc10: The few-shot set ``esc10``: ``clips.csv``, ``attribution.csv`` and FLAC files by class.
        out: Folder to fill: ``enrol/``, ``stream/``, ``untaught/``, ``background/`` and ``CREDITS.csv``.
        seed: Of the choice.

    Returns:
        Number of clips written.
    """
    with (esc10 / "attribution.csv").open(encoding="utf-8") as file:
        credit = {Path(row["clip"]).stem: row for row in csv.DictReader(file)}
    by_class: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    with (esc10 / "clips.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if credit[_stem(row["file"])]["licence"] in LICENCES:
                by_class[row["class"]][row["group"]].append(row["file"])
    rng = random.Random(seed)
    plan = [(name, "enrol", N_ENROL) for name in TAUGHT] + [(name, "stream", N_STREAM) for name in TAUGHT]
    plan += [(name, "untaught", N_UNTAUGHT) for name in UNTAUGHT]
    plan += [(name, "background", N_BACKGROUND) for name in BACKGROUND]
    rows = []
    for name, part, n_clips in plan:
        for group in rng.sample(sorted(by_class[name]), n_clips):
            clip = rng.choice(sorted(by_class[name].pop(group)))
            entry = credit[_stem(clip)]
            target = out / part / name / f"{_stem(clip)}.ogg"
            target.parent.mkdir(parents=True, exist_ok=True)
            samples, rate = sf.read(esc10 / clip, dtype="float32")
            sf.write(target, samples, rate, format="OGG", subtype="OPUS")
            name_in_demo = target.relative_to(out).as_posix()
            rows.append([name_in_demo, entry["title"], entry["author"], LICENCES[entry["licence"]], entry["address"]])
    with (out / "CREDITS.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "title", "author", "licence", "source", "changes"])
        writer.writerows([*row, CHANGES] for row in sorted(rows))
    return len(rows)


def _stem(file: str) -> str:
    return Path(file).stem.split("__")[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("esc10", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    print(build(args.esc10, args.out), "clips")
