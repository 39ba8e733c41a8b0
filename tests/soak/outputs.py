"""Whether an event is ever lost or told twice: `earmark listen` under a receiver that fails, hangs and dies, a disk
that fills up, and kills, again and again, with every event accounted for at the end.

    python -m tests.soak.outputs --rounds 50
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from device_app.__main__ import main as earmark
from device_app.demo.stream import bundled_clips
from device_app.history.history import History
from device_app.outputs.outbox import Outbox
from tests.device_app.listening_process import Listening
from tests.device_app.outputs.conftest import Receiver

_RATE = 16_000
_QUIET_S = 4.0
DISTURBANCES = ("none", "receiver fails", "receiver hangs", "receiver is dead", "disk is full", "reload")
ENDS = ("end of input", "SIGTERM", "SIGKILL")


@dataclass(slots=True)
class Account:
    """What was printed, delivered and kept, over all rounds."""

    printed: list[dict[str, Any]] = field(default_factory=list)
    """Lines of standard output, updates left out."""
    n_killed: int = 0
    n_full: int = 0
    """Rounds in which the disk did refuse something."""
    rounds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def small_disk(folder: Path) -> contextlib.AbstractContextManager[Path]:
    """A disk of 128 MB if we may mount one, otherwise a folder that is never full."""

    @contextlib.contextmanager
    def mounted() -> Iterator[Path]:
        disk = folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(disk)]
        may = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
        try:
            yield disk
        finally:
            if may:
                subprocess.run(["umount", "-l", str(disk)], check=True)

    return mounted()


def fill_disk(disk: Path) -> None:
    """Fill a disk with a file ``ballast``; one that is not ours to fill is spared."""
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while disk.is_mount():
            ballast.write(b"x" * 65536)
        # the last pages, too: a journal needs only a few
    with contextlib.suppress(OSError), (disk / "ballast").open("ab", buffering=0) as ballast:
        while disk.is_mount():
            ballast.write(b"x" * 512)


def audio() -> np.ndarray:
    """(n_samples,) int16: a dog between stretches of a quiet room."""
    rng = np.random.default_rng(0)
    parts = []
    for path in bundled_clips("enrol")["dog_bark"]:
        parts += [sf.read(path, dtype="int16")[0], rng.normal(0.0, 10.0, int(_QUIET_S * _RATE)).astype(np.int16)]
    return np.concatenate(parts)


class Soak:
    """Rounds of listening with one history, one queue and one receiver.

    Args:
        folder: For everything that is written.
        seed: Of what happens.
    """

    def __init__(self, folder: Path, disk: Path, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._folder, self._disk = folder, disk
        self._receiver = Receiver()
        self._audio = audio()
        self.account = Account()
        profile = folder / "profile"
        clips = bundled_clips("enrol")["dog_bark"]
        earmark(["enrol", "dog", "--from", str(clips[0].parent), "--profile", str(profile)])
        self._expected = self._starts(self._undisturbed())

    def _listen(self) -> Listening:
        return Listening(
            self._folder,
            *("--source", "-", "--profile", self._folder / "profile", "--history", self._disk / "history.sqlite3"),
            *("--webhook-url", self._receiver.url),
            EARMARK_WEBHOOK_QUEUE=str(self._disk / "outbox.sqlite3"),
            EARMARK_WEBHOOK_TIMEOUT_S="0.5",
        )

    def _undisturbed(self) -> list[dict[str, Any]]:
        """The lines of the whole audio when nothing happens; they count like all others."""
        listening = self._listen()
        listening.feed(self._audio)
        listening.end()
        return self._book(listening, clean=True)

    @staticmethod
    def _starts(lines: list[dict[str, Any]]) -> list[float]:
        return [line["start_s"] for line in lines if line["type"] == "start"]

    def round(self, disturbance: str, end: str) -> None:
        """Listen once, while something happens, until something ends it."""
        receiver = self._receiver
        listening = self._listen()
        half = len(self._audio) // 2
        if disturbance == "receiver fails":
            receiver.answer = lambda n: 503 if n % 3 else 200
        if disturbance == "receiver hangs":
            receiver.hang_s = 1.0
        if disturbance == "receiver is dead":
            receiver.stop()
        listening.feed(self._audio[:half])
        if disturbance == "disk is full":
            fill_disk(self._disk)
        if disturbance == "reload":
            self._settle(listening)
            listening.process.send_signal(signal.SIGHUP)
        listening.feed(self._audio[half:])
        if disturbance == "disk is full":
            self._settle(listening)
            (self._disk / "ballast").unlink()
            time.sleep(6.0)  # it tries again every five seconds
        if end == "SIGTERM":
            self._settle(listening)
            listening.end(signal.SIGTERM)
        elif end == "SIGKILL":
            time.sleep(float(self._rng.uniform(0.5, 4.0)))
            listening.end(signal.SIGKILL)
            self.account.n_killed += 1
        else:
            listening.end()
        receiver.answer, receiver.hang_s = lambda n: 204, 0.0
        if disturbance == "receiver is dead":
            receiver.start()
        self.account.rounds[f"{disturbance}, {end}"] += 1
        lines = self._book(listening, clean=end != "SIGKILL")
        expected = self._expected[: len(self._starts(lines))] if end == "SIGKILL" else self._expected
        if disturbance != "reload" and self._starts(lines) != expected:  # a reload ends events and begins anew
            self.account.faults.append(f"{disturbance}, {end}: heard {self._starts(lines)}, not {expected}")

    def _settle(self, listening: Listening) -> None:
        """Wait until what was fed was worked through: everything was heard, or no line comes for a long time."""
        n, since = -1, time.monotonic()
        while True:
            time.sleep(1.5)
            if n == len(listening.lines):
                all_heard = len(self._starts(listening.lines)) >= len(self._expected)
                if all_heard or time.monotonic() - since > 15.0:
                    return
            else:
                n, since = len(listening.lines), time.monotonic()

    def _book(self, listening: Listening, *, clean: bool) -> list[dict[str, Any]]:
        lines = [line for line in listening.lines if line["type"] != "update"]
        self.account.printed += lines
        self.account.n_full += "kept in memory" in listening.errors
        if "Traceback" in listening.errors:
            self.account.faults.append(listening.errors)
        kinds = Counter((line["id"], line["type"]) for line in lines)
        if clean and {event_id for event_id, _ in kinds} != {event_id for event_id, kind in kinds if kind == "end"}:
            self.account.faults.append("an event that started did not end, though the program could say so")
        return lines

    def close(self) -> Account:
        """Let everything be delivered that waits, and compare what was printed, delivered and kept."""
        listening = self._listen()
        outbox = Outbox(self._disk / "outbox.sqlite3", 10_000)
        until = time.monotonic() + 60.0
        while outbox.n_waiting() and time.monotonic() < until:
            time.sleep(0.2)
        listening.end()
        faults = self.account.faults
        if n_waiting := outbox.n_waiting():
            faults.append(f"{n_waiting} lines were not delivered")
        outbox.close()
        self._receiver.stop()
        bodies: dict[str, dict[str, Any]] = {}
        for headers, body in self._receiver.requests:
            key = headers["Idempotency-Key"]
            if bodies.setdefault(key, body) != body:
                faults.append(f"{key} was sent with two bodies")
        printed = {f"{line['id']}-{line['type']}": line for line in self.account.printed}
        if len(printed) != len(self.account.printed):
            faults.append("a line was printed twice")
        faults += [f"{key} was printed and never delivered" for key in printed.keys() - bodies.keys()]
        faults += [
            f"{key} was delivered otherwise than printed"
            for key in printed
            if bodies.get(key, printed[key]) != printed[key]
        ]
        if len(unprinted := bodies.keys() - printed.keys()) > self.account.n_killed:  # killed between disk and print
            faults.append(f"{len(unprinted)} lines were delivered and not printed in {self.account.n_killed} kills")
        kept = {line["id"]: line for line in History(self._disk / "history.sqlite3").lines()}
        latest = {line["id"]: line for line in self.account.printed}
        faults += [
            f"{event_id} is not in the history as it was printed"
            for event_id, line in latest.items()
            if kept.get(event_id, {}).get("type") not in (line["type"], "end")
        ]
        return self.account


def run(folder: Path, rounds: list[tuple[str, str]], seed: int = 0) -> Account:
    """Listen through some rounds.

    Args:
        folder: For everything that is written.
        rounds: Of :data:`DISTURBANCES` and :data:`ENDS`.
        seed: Of what is left to chance.
    """
    with small_disk(folder) as disk:
        soak = Soak(folder, disk, seed)
        for disturbance, end in rounds:
            soak.round(disturbance, end)
            print(f"{disturbance}, {end}: {len(soak.account.printed)} lines so far", file=sys.stderr)
        return soak.close()


def main() -> int:
    """Random rounds; prints the account. Returns 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    rounds = [(str(rng.choice(DISTURBANCES)), str(rng.choice(ENDS))) for _ in range(args.rounds)]
    with tempfile.TemporaryDirectory(prefix="earmark-soak-") as folder:
        account = run(Path(folder), rounds, args.seed)
    n_events = len({line["id"] for line in account.printed})
    how = f"{account.n_killed} ended by a kill, {account.n_full} with a full disk"
    print(f"{n_events} events in {args.rounds} rounds, {how}: {len(account.faults)} faults")
    for fault in account.faults:
        print(fault)
    return 1 if account.faults else 0


if __name__ == "__main__":
    sys.exit(main())
