"""How well sounds are heard in streams, over many random choices of recordings: `make bench-stream`.

Each draw is the demo with other recordings: from all of ESC-10, five of each taught sound are enrolled, others are
heard among sounds that were never taught, over rain and sea. A recording is enrolled or heard, never both.
The last lines are the same windows with other values of ``fire_at``: what is won and what it costs.
"""

import argparse
import csv
import json
import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from device_app.demo.command import Outcome, enrol_and_hear, judge
from device_app.demo.stream import SAMPLE_RATE, Stream, mix_stream
from device_app.listening.detector import DetectionConfig, Detector
from device_app.listening.recogniser import HeardWindow
from device_app.model.embedder import Embedder, load_embedder
from export.demo_clips import BACKGROUND, N_BACKGROUND, N_ENROL, N_STREAM, N_UNTAUGHT, TAUGHT, UNTAUGHT

_FIRE_AT = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)


def draw(esc10: Path, seed: int) -> tuple[dict[str, list[Path]], Stream]:
    """Recordings to enrol, and a stream of others."""
    rng = np.random.default_rng(seed)
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    with (esc10 / "clips.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            groups[row["class"]][row["group"]].append(esc10 / row["file"])

    def pick(sound: str, n_clips: int) -> list[Path]:
        """One clip of each of ``n_clips`` recordings, which are then used up."""
        chosen = rng.permutation(sorted(groups[sound]))[:n_clips]
        return [sorted(groups[sound].pop(str(group)))[0] for group in chosen]

    enrolled = {sound: pick(sound, N_ENROL) for sound in TAUGHT}
    taught = {sound: pick(sound, N_STREAM) for sound in TAUGHT}
    untaught = {sound: pick(sound, N_UNTAUGHT) for sound in UNTAUGHT}
    background = [path for sound in BACKGROUND for path in pick(sound, N_BACKGROUND)]
    return enrolled, mix_stream(taught, untaught, background, rng)


def false_by_cause(outcomes: list[Outcome]) -> dict[str, int]:
    """How many false events what was really playing made, most first."""
    causes = sum((Counter(outcome.false_causes) for outcome in outcomes), Counter[str]())
    return dict(causes.most_common())


def summary(outcomes: list[Outcome]) -> dict[str, float]:
    """Shares and rates over all draws, and the range of the draws' shares."""
    shares = [outcome.heard_share for outcome in outcomes]
    n_false = sum(tally.false for outcome in outcomes for tally in outcome.sounds.values())
    delays = np.array([delay for outcome in outcomes for delay in outcome.delays_s])
    return {
        "draws": len(outcomes),
        "hours": round(sum(outcome.stream_s for outcome in outcomes) / 3600.0, 2),
        "heard_share": round(float(np.mean(shares)), 3),
        "worst_draw": round(min(shares), 3),
        "best_draw": round(max(shares), 3),
        "false_per_hour": round(n_false * 3600.0 / sum(outcome.stream_s for outcome in outcomes), 2),
        "median_delay_s": round(float(np.median(delays)), 2) if len(delays) else float("nan"),
    }


def with_other_threshold(windows: list[HeardWindow], embedder: Embedder, stream: Stream, fire_at: float) -> Outcome:
    """What the same windows come to where an event starts at other evidence."""
    clip_s = embedder.metadata.clip_samples / embedder.metadata.sample_rate
    detector = Detector(sorted(TAUGHT), clip_s, DetectionConfig(fire_at=fire_at))
    events = [
        event
        for window in windows
        for event in detector.push(window.scores, window.start_s, window.level_dbfs, weight=window.weight)
    ]
    starts = [event for event in events if event.phase == "start"]
    return judge(starts, stream.occurrences, len(stream.waveform) / SAMPLE_RATE)


def arguments(description: str | None) -> argparse.Namespace:
    """The command line of a benchmark over draws, and ``esc10``, the set's folder; exits with a sentence without it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1000, help="of the first draw (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="default: the shipped one")
    args = parser.parse_args()
    args.esc10 = Path(os.environ.get("EARMARK_SHARED") or "../shared") / "data" / "fewshot" / "esc10"
    if not args.esc10.is_dir():
        sys.exit(f"error: ESC-10 is not at {args.esc10}: set EARMARK_SHARED to the folder that holds it")
    return args


def main() -> int:
    """Run the draws and print one JSON object each, and one for all."""
    args = arguments(__doc__)
    embedder = load_embedder(args.model)
    outcomes = []
    others: dict[float, list[Outcome]] = {fire_at: [] for fire_at in _FIRE_AT}
    for seed in range(args.seed, args.seed + args.draws):
        enrolled, stream = draw(args.esc10, seed)
        windows: list[HeardWindow] = []
        outcomes.append(enrol_and_hear(embedder, enrolled, stream, on_window=windows.append))
        print(json.dumps({"seed": seed} | summary(outcomes[-1:])), flush=True)
        for fire_at, found in others.items():
            found.append(with_other_threshold(windows, embedder, stream, fire_at))
    print(json.dumps(summary(outcomes) | {"false_by_cause": false_by_cause(outcomes)}))
    for fire_at, found in others.items():
        print(json.dumps({"fire_at": fire_at} | summary(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
