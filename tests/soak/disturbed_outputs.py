"""The outputs in a soak: a webhook's receiver that fails, hangs and dies, a disk that fills up, and restarts."""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device_app.capture import Capture
from device_app.config import Config, ListenConfig, WebhookConfig
from device_app.history.history import History
from device_app.listening.sound_event import SoundEvent
from device_app.outputs.outbox import Outbox
from device_app.outputs.outputs import Outputs
from tests.device_app.outputs.conftest import Receiver
from tests.soak.disturbances import Bystander
from tests.soak.outputs import fill_disk

_DELIVERED_WITHIN_S = 120.0


class CountingReceiver(Receiver):
    """Remembers of each request no more than its key and a digest of its body: a day of them is long."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.faults: list[str] = []
        self.n_requests = 0
        super().__init__()

    def take(self, headers: dict[str, str], body: dict[str, Any]) -> int:
        key = headers["Idempotency-Key"]
        if self.digests.setdefault(key, digest(body)) != digest(body):
            self.faults.append(f"{key} was sent with two bodies")
        self.n_requests += 1
        return self.answer(self.n_requests)


def digest(line: Mapping[str, Any]) -> str:
    """What tells one line from another."""
    return hashlib.sha256(json.dumps(line, sort_keys=True).encode()).hexdigest()[:16]


class DisturbedOutputs(Bystander):
    """History and webhook of all events, with something else going wrong every so often.

    Args:
        disk: Folder of queue and history, best a small disk of its own.
        model_id: Of the model that is listened with.
        every_s: Of audio.
    """

    def __init__(self, disk: Path, model_id: str, every_s: float) -> None:
        self._disk, self._model_id, self._every_s = disk, model_id, every_s
        self._next_s = every_s
        self._receiver = CountingReceiver()
        self._config = Config(
            listen=ListenConfig(history=disk / "history.sqlite3"),
            webhook=WebhookConfig(url=self._receiver.url, queue=disk / "outbox.sqlite3", timeout_s=0.5),
        )
        self._printed: dict[str, str] = {}
        self._faults: list[str] = []
        self._outputs = self._start()
        self._disturbances = [self._fail, self._mend, self._die, self._mend, self._hang, self._restart, self._fill]
        self._disturbances += [self._mend, self._restart, self._mend]
        self.n_done = 0

    def tick(self, capture: Capture, heard_s: float) -> None:
        self._outputs.tick()
        if heard_s >= self._next_s:
            self._next_s = heard_s + self._every_s
            self._disturbances[self.n_done % len(self._disturbances)]()
            self.n_done += 1

    def event(self, event: SoundEvent, epoch_s: float) -> None:
        self._outputs.sound(event, epoch_s)

    def verdict(self) -> list[str]:
        self._mend()
        self._restart()  # so that it tries at once
        outbox = Outbox(self._disk / "outbox.sqlite3", 10_000)
        until = time.monotonic() + _DELIVERED_WITHIN_S
        while outbox.n_waiting() and time.monotonic() < until:
            time.sleep(0.05)
        outbox.close()
        self._outputs.close()
        self._receiver.stop()
        faults = self._faults + self._receiver.faults
        if self._receiver.digests != self._printed:
            lost, extra = self._printed.keys() - self._receiver.digests, self._receiver.digests.keys() - self._printed
            faults.append(f"of {len(self._printed)} lines {len(lost)} were not delivered, {len(extra)} are too many")
        history = History(self._disk / "history.sqlite3")
        kept = {f"{line['id']}-{line['type']}" for line in history.lines()}
        history.close()
        ended = {key for key in self._printed if key.endswith("-end")}
        if kept != ended:
            faults.append(f"of {len(ended)} events {len(ended - kept)} are not in the history as they ended")
        return faults

    def _start(self) -> Outputs:
        return Outputs(self._config, self._model_id, self._print, keep_history=True)

    def _print(self, line: Mapping[str, Any]) -> None:
        if line["type"] == "update":
            return
        key = f"{line['id']}-{line['type']}"
        if key in self._printed:
            self._faults.append(f"{key} was printed twice")
        self._printed[key] = digest(line)

    # What goes wrong.

    def _fail(self) -> None:
        self._receiver.answer = lambda n: 503 if n % 3 else 200

    def _hang(self) -> None:
        self._receiver.hang_s = 1.0

    def _die(self) -> None:
        self._receiver.stop()

    def _fill(self) -> None:
        fill_disk(self._disk)

    def _restart(self) -> None:
        (self._disk / "ballast").unlink(missing_ok=True)  # what waits for space would be lost with the memory
        self._outputs.close()
        self._outputs = self._start()

    def _mend(self) -> None:
        (self._disk / "ballast").unlink(missing_ok=True)
        self._receiver.answer, self._receiver.hang_s = lambda n: 204, 0.0
        self._receiver.start()
