"""How soon sounds are heard in a quiet room, and what the windows after an onset say: `make bench-delays`.

What `make bench-device` plays, without a sound card and so without the noise of a busy machine, and over the draws of
`make bench-stream`: in the blocks of a microphone at 44.1 kHz, from the onset of a recording to the end of the block
with which its event came. A real capture adds the way through the sound server and the time of the work itself.
"""

import itertools
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from device_app.arrays import FloatArray
from device_app.audio_file import find_audio, read_native, resample
from device_app.capture import Block
from device_app.enrolment.head import Head
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording
from device_app.listening.command import LIVE_BLOCK_S
from device_app.listening.recogniser import HeardWindow, Recogniser
from device_app.model.embedder import Embedder, load_embedder
from tests.bench.device import LATE_S, RATE, clips_in_a_room
from tests.bench.stream import arguments, draw

_NATIVE_RATE = 44100
_EDGES_S = (0.0, 0.25, 0.4, 0.55, 0.75, 1.0)


class Account:
    """What was heard of some recordings, how soon, and the evidence for the right sound by the time since its onset."""

    def __init__(self) -> None:
        self.n_played = self.n_false = 0
        self.delays_s: list[float] = []
        self.evidence: dict[tuple[float, float], list[float]] = defaultdict(list)

    def add(
        self, embedder: Embedder, head: Head, room: FloatArray, occurrences: list[tuple[str, float, float]]
    ) -> None:
        """Play a (n,) waveform at 48 kHz with these sounds, onsets and ends."""
        windows: list[HeardWindow] = []
        recogniser = Recogniser(embedder, head, on_window=windows.append, live=True)
        waveform, n_block = resample(room, RATE, _NATIVE_RATE), round(LIVE_BLOCK_S * _NATIVE_RATE)
        starts = []
        for at in range(0, len(waveform), n_block):
            events = recogniser.push(Block(waveform[at : at + n_block], _NATIVE_RATE, at, 0, 0.0))
            starts += [((at + n_block) / _NATIVE_RATE, e.sound) for e in events if e.phase == "start"]
        clip_s = embedder.metadata.clip_samples / embedder.metadata.sample_rate
        right = set()
        for sound, onset_s, end_s in occurrences:
            own = [i for i, (at_s, name) in enumerate(starts) if name == sound and onset_s <= at_s <= end_s + LATE_S]
            right.update(own)
            self.delays_s += [starts[own[0]][0] - onset_s] if own else []
            for window in windows:
                since_s = window.start_s + clip_s - onset_s
                for edges in itertools.pairwise(_EDGES_S):
                    if own and window.scores is not None and edges[0] < since_s <= edges[1]:
                        self.evidence[edges].append(float(window.scores[head.sounds.index(sound)]))
        self.n_played += len(occurrences)
        self.n_false += len(starts) - len(right)

    def summary(self) -> dict[str, Any]:
        """Counts, quantiles of the delay, and the median evidence of windows for what was heard."""
        return {
            "played": self.n_played,
            "heard": len(self.delays_s),
            "false": self.n_false,
            "median_s": round(float(np.median(self.delays_s)), 2),
            "75_percent_s": round(float(np.quantile(self.delays_s, 0.75)), 2),
            "95_percent_s": round(float(np.quantile(self.delays_s, 0.95)), 2),
            "evidence": {
                f"{low:g} to {high:g} s": round(float(np.median(values)), 2)
                for (low, high), values in sorted(self.evidence.items())
            },
        }


def main() -> int:
    """Play all draws and print one JSON object for what was enrolled and one for other recordings."""
    args = arguments(__doc__)
    embedder = load_embedder(args.model)
    places = {path.name: path for path in find_audio(args.esc10)}
    accounts = {"enrolled": Account(), "other": Account()}
    for seed in range(args.seed, args.seed + args.draws):
        enrolled, stream = draw(args.esc10, seed)
        others: dict[str, list[Path]] = defaultdict(list)
        for entry in stream.occurrences:
            if entry.taught:
                others[entry.sound].append(places[entry.clip])
        with tempfile.TemporaryDirectory(prefix="earmark-delays-") as folder:
            profile = Profile(Path(folder) / "profile")
            with profile.lock():
                for sound, paths in enrolled.items():
                    profile.add(sound, [NewRecording(*read_native(path), path.name) for path in paths], embedder)
            head = profile.head(embedder)
        for kind, recordings in (("enrolled", enrolled), ("other", others)):
            accounts[kind].add(embedder, head, *clips_in_a_room(recordings, np.random.default_rng(seed)))
    for kind, account in accounts.items():
        print(json.dumps({"recordings": kind} | account.summary()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
