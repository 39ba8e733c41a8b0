"""What the head does with sounds that it was not taught: `make bench-openset`.

First, for each public set, how well a score tells clips of the taught sounds from clips of the set's other classes
(AUROC in percent): the head's best evidence; the cosine to the nearest mean of a sound's recordings; the largest
probability of a logistic regression on the embedding, and on log-mel statistics instead of it. Then what it wins and
costs to say by hand what makes two clips the same. Then false alarms: the
taught sounds listen to hours of the pretraining corpus, laid end to end, with the detector as on the device, and the
rate is divided by the budget that their thresholds were set from. Recordings that the bank was drawn from are left out;
the network, though, was pretrained on all of them, without labels.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from device_app.arrays import FloatArray
from device_app.enrolment.head import EVIDENCE, Fit, Head, fit_head
from device_app.enrolment.report import heard_as
from device_app.enrolment.sound_settings import SoundSettings
from device_app.enrolment.threshold import EVENTS_A_WINDOW, FIRES_ABOVE
from device_app.listening.detector import DetectionConfig, Detector
from device_app.model.embedder import Embedder, load_embedder
from export.model_export import bank_clips
from tests.bench.heads import K_SHOT, SETS, interval, told_apart
from tests.bench.labelled_clips import LabelledClips, Task, draw_tasks, examples_of, read_set
from train.config import load_config
from train.corpus.cache import Cache

BUDGETS = (480.0, 72.0, 12.0, 1.0)
"""False alarms a day for each sound."""
SAME = {"fsdd": "word", "fsdd by speaker": "speaker"}
"""Sets of which is known what makes two clips the same."""
_HOP_S = DetectionConfig().hop_s


def fit_task(clips: LabelledClips, task: Task, embedder: Embedder, by_hand: SoundSettings | None = None) -> Fit:
    """The head of a task's sounds, with settings if some are given."""
    settings = {f"{place:02d}": by_hand or SoundSettings() for place in range(len(task.taught))}
    return fit_head(
        examples_of(clips, task),
        background=(),
        bank=embedder.background(),
        head_sizes=embedder.head_sizes,
        model_id="",
        recordings=(),
        settings=settings,
    )


def rejection(clips: LabelledClips, task: Task, embedder: Embedder) -> dict[str, float]:
    """AUROC in percent of each score, queries of the taught sounds against untaught clips."""
    head = fit_task(clips, task, embedder).head
    queries = [*np.concatenate(task.queries), *task.untaught]
    taught = np.concatenate(task.taught)
    sounds = np.repeat(np.arange(len(task.taught)), [len(part) for part in task.taught])
    means = np.stack([clips.windows[clip].mean(axis=0) for clip in taught])
    heard, label = heard_windows(clips, task)
    centroids = np.stack([means[sounds == place].mean(axis=0) for place in range(len(task.taught))])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    mel_mean, mel_std = clips.log_mel[taught].mean(axis=0), clips.log_mel[taught].std(axis=0) + 1e-3
    mel, heard_mel = ((clips.log_mel[rows] - mel_mean) / mel_std for rows in (taught, queries))
    scores = {
        "head": head.score(heard).max(axis=1),
        "cosine": (heard @ centroids.T / np.linalg.norm(heard, axis=1, keepdims=True)).max(axis=1),
        "max softmax": LogisticRegression(C=30.0, max_iter=200).fit(means, sounds).predict_proba(heard).max(axis=1),
        "log-mel": LogisticRegression(max_iter=500).fit(mel, sounds).predict_proba(heard_mel).max(axis=1),
    }
    return {name: 100.0 * float(roc_auc_score(label, values)) for name, values in scores.items()}


def heard_windows(clips: LabelledClips, task: Task) -> tuple[FloatArray, NDArray[np.int64]]:
    """(n_clips, size) mean window of a task's queries and then of its clips of other classes, and which were taught."""
    queries = [*np.concatenate(task.queries), *task.untaught]
    taught = np.repeat([1, 0], [len(queries) - len(task.untaught), len(task.untaught)])
    return np.stack([clips.clean(clip).mean(axis=0) for clip in queries]), taught


def heard(clips: LabelledClips, task: Task, head: Head) -> list[bool]:
    """Whether the detector hears each query of a task as what it is."""
    return [
        f"{place:02d}" in heard_as(head.score(clips.clean(clip)[::2]), head.sounds, 1.0)
        for place, queries in enumerate(task.queries)
        for clip in queries
    ]


def set_by_hand(clips: LabelledClips, embedder: Embedder, n_tasks: int) -> dict[str, object]:
    """What ``--same`` wins and costs: queries told apart, told from other classes, and heard at the usual budget."""
    said: dict[str, object] = {"set": clips.name}
    for name, by_hand in (
        ("learned", SoundSettings()),
        (f"--same {SAME[clips.name]}", SoundSettings(same=SAME[clips.name])),
    ):
        right, known, apart = [], [], []
        for task in draw_tasks(clips, n_tasks, n_way=5, k_shot=K_SHOT):
            head = fit_task(clips, task, embedder, by_hand).head
            known.append(100.0 * np.mean(heard(clips, task, head)))
            right.append(100.0 * np.mean(list(told_apart(clips, task, head).values())))
            windows, taught = heard_windows(clips, task)
            apart.append(100.0 * roc_auc_score(taught, head.score(windows).max(axis=1)))
        said |= {
            f"{name}: told apart": interval(right),
            f"{name}: AUROC": interval(apart),
            f"{name}: heard": interval(known),
        }
    return said


def unheard_audio(cache: Cache, config: Path) -> Iterator[NDArray[np.int16]]:
    """The corpus's clips, in an order that mixes its domains, without the recordings that the bank was drawn from."""
    banked = {clip.path for clip in bank_clips(cache, load_config(config))}
    rest = [clip for clip in cache.clips if clip.path not in banked]
    for place in np.random.default_rng(0).permutation(len(rest)):
        yield cache.samples(rest[place], 0, rest[place].n_samples)


def embed_background(embedder: Embedder, cache: Cache, config: Path, hours: float) -> FloatArray:
    """(n, size) windows of the background as a listener meets them."""
    rate, clip_samples = embedder.metadata.sample_rate, embedder.metadata.clip_samples
    hop = round(_HOP_S * rate)
    rows, held = [], np.zeros(0, np.float32)
    n_left = round(hours * 3600.0 / _HOP_S)
    for samples in unheard_audio(cache, config):
        held = np.concatenate([held, samples.astype(np.float32) / 32768.0])
        n_windows = min((len(held) - clip_samples) // hop + 1, n_left)
        if n_windows >= 64 or n_windows == n_left:
            windows = np.lib.stride_tricks.sliding_window_view(held, clip_samples)[::hop][:n_windows]
            rows.append(embedder.embed(windows))
            held = held[n_windows * hop :]
            n_left -= n_windows
        if n_left == 0:
            break
    return np.concatenate(rows)


def count_events(scores: FloatArray, sounds: tuple[str, ...]) -> NDArray[np.int64]:
    """(n_sounds,) events of each sound, listened for alone, in (n, n_sounds) evidence."""
    counts = np.zeros(len(sounds), np.int64)
    for i, sound in enumerate(sounds):
        detector = Detector([sound], 1.0, DetectionConfig())
        started = -1.0
        for number, score in enumerate(scores[:, i : i + 1]):
            for event in detector.push(score, number * _HOP_S, 0.0):
                counts[i] += event.start_s > started
                started = max(started, event.start_s)
    return counts


def false_alarms(
    sets: list[LabelledClips], background: FloatArray, embedder: Embedder, per_day: float, n_tasks: int
) -> dict[str, object]:
    """Realised rate of false alarms in budgets, and what share of other clips of the sounds is heard with it."""
    hours = len(background) * _HOP_S / 3600.0
    ratios, recalls, n_above, n_events = [], [], 0, 0
    for clips in sets:
        tasks = draw_tasks(clips, n_tasks, n_way=SETS.get(clips.name, 5), k_shot=K_SHOT, seed=5)
        for task in tasks:
            fit = fit_task(clips, task, embedder, SoundSettings(false_alarms_per_day=per_day))
            scores = fit.head.score(background)
            events = count_events(scores, fit.head.sounds)
            ratios += (events / hours / (per_day / 24.0)).tolist()
            n_events += int(events.sum())
            n_above += int(np.sum(scores > EVIDENCE * FIRES_ABOVE))
            recalls += heard(clips, task, fit.head)
    return {
        "budget a day": per_day,
        "sound-hours": round(hours * len(ratios), 1),
        "realised / budget": interval(ratios),
        "sounds above twice the budget, %": round(100.0 * float(np.mean(np.array(ratios) > 2.0)), 1),
        "heard, %": round(100.0 * float(np.mean(recalls)), 1),
        f"events a window {FIRES_ABOVE} above (taken as {EVENTS_A_WINDOW})": round(n_events / max(1, n_above), 3),
    }


def main() -> int:
    """Print one JSON object a set, then one a budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, help="the pretraining corpus, decoded: `python -m train cache`")
    parser.add_argument(
        "--config", type=Path, default=Path("configs/shipped.toml"), help="that the model was made with"
    )
    parser.add_argument("--hours", type=float, default=4.0, help="of background (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=60, help="of each set (default: %(default)s)")
    parser.add_argument("--model", type=Path, help="default: the shipped one")
    args = parser.parse_args()
    embedder, corpus = load_embedder(args.model), Cache(args.cache)
    if corpus.sha256 != embedder.metadata.corpus_sha256:
        print(
            f"error: the model's bank is of another corpus than {args.cache}, so it cannot be left out: build the "
            "cache that the model was made with (make bench-openset does)",
            file=sys.stderr,
        )
        return 1
    try:
        sets = [clips for name in SETS for clips in read_set(name, embedder)]
    except FileNotFoundError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    for clips in sets:
        n_way = SETS.get(clips.name, 5)
        scores = [
            rejection(clips, task, embedder) for task in draw_tasks(clips, args.tasks, n_way=n_way, k_shot=K_SHOT)
        ]
        by_score = {name: interval([score[name] for score in scores]) for name in scores[0]}
        margins = {
            f"head - {name}": interval([score["head"] - score[name] for score in scores])
            for name in ("max softmax", "log-mel")
        }
        print(json.dumps({"set": clips.name, "tasks": len(scores), **by_score, **margins}), flush=True)
    for clips in sets:
        if clips.name in SAME:
            print(json.dumps(set_by_hand(clips, embedder, args.tasks)), flush=True)
    background = embed_background(embedder, corpus, args.config, args.hours)
    for per_day in BUDGETS:
        print(json.dumps(false_alarms(sets, background, embedder, per_day, max(1, args.tasks // 15))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
