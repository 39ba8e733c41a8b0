"""A day of audio through the listening path, with all that can go wrong on the way: `make soak`.

A folder of recordings goes through the capture process, which is killed and made to hang on the way; some files are
broken, one turns into numbers that are none; the wall clock jumps; a webhook's receiver fails, hangs and dies, the disk
of history and queue fills up, and both are closed and opened again. Each hour must bring exactly the events of an
undisturbed hour, every event must start and end once, and memory must not grow. Ends with status 1 otherwise.
"""

import argparse
import json
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from device_app.audio_file import read_audio, read_native
from device_app.capture import Block, FileSource, Patience
from device_app.demo.stream import bundled_clips
from device_app.enrolment.head import Head
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording
from device_app.listening.recogniser import Recogniser
from device_app.model.embedder import Embedder, load_embedder
from tests.soak.disturbances import EventAccount, JumpingClock, SignalledCapture
from tests.soak.disturbed_outputs import DisturbedOutputs
from tests.soak.driver import Report, soak
from tests.soak.outputs import small_disk
from tests.soak.recordings import FIRST_HOUR, RATE, hour, write_day


def taught(folder: Path, embedder: Embedder) -> Head:
    """A profile of the demo's sounds."""
    profile = Profile(folder)
    with profile.lock():
        for sound, paths in bundled_clips("enrol").items():
            profile.add(sound, [NewRecording(*read_native(path), path.name) for path in paths], embedder)
    return profile.head(embedder)


def undisturbed(embedder: Embedder, head: Head, path: Path) -> list[tuple[str, float]]:
    """Sound and moment of the events of one hour in a row, the second time round: as the hours of a day follow it."""
    recogniser = Recogniser(embedder, head)
    stored = read_audio(path, RATE)  # to the last bit: a decision may hang on it
    events = []
    for start in range(0, 2 * len(stored), RATE // 10):
        piece = stored[start % len(stored) : start % len(stored) + RATE // 10]
        events += recogniser.push(Block(piece, RATE, start, 0, 0.0))
    length_s = len(stored) / RATE
    return [(e.sound, e.fired_s - length_s) for e in events if e.phase == "start" and e.fired_s >= length_s]


def run(folder: Path, n_hours: int, hour_s: float, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Soak for so many hours of so many seconds."""
    embedder = load_embedder()
    head = taught(folder / "profile", embedder)
    starts_s = write_day(folder / "day", hour(hour_s, np.random.default_rng(0)), n_hours)
    expected = undisturbed(embedder, head, folder / "day" / FIRST_HOUR)
    with small_disk(folder) as disk:
        parts = [
            EventAccount(expected, starts_s),
            DisturbedOutputs(disk, embedder.metadata.model_id, every_s=hour_s * 0.15),
            SignalledCapture({signal.SIGKILL: hour_s * 0.4, signal.SIGSTOP: hour_s * 2.3}),
            JumpingClock(monkeypatch, every_s=hour_s * 0.7),
        ]
        return soak(
            FileSource(folder / "day"),
            Recogniser(embedder, head),
            parts,
            part_s=hour_s,
            patience=Patience(start_s=10.0, first_delay_s=0.1),
        )


def main() -> int:
    """Soak, print a report as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=24, help="default: %(default)s")
    parser.add_argument("--hour-s", type=float, default=3600.0, help="seconds of an hour (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="earmark-soak-") as folder, pytest.MonkeyPatch.context() as monkeypatch:
        report = run(Path(folder), args.hours, args.hour_s, monkeypatch)
    print(json.dumps(asdict(report) | {"growth": round(report.growth, 4)}))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
