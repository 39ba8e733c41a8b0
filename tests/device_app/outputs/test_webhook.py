import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_app.config import WebhookConfig
from device_app.errors import EarmarkError
from device_app.outputs import webhook as webhook_module
from device_app.outputs.outbox import Message, Outbox
from device_app.outputs.webhook import Webhook, message_key
from tests.device_app.outputs.conftest import Receiver, wait_until

Make = Callable[..., Webhook]


def line(number: int, kind: str = "start", **more: object) -> dict[str, object]:
    return {"schema": 1, "type": kind, "id": f"{number:032x}", "sound": "bell", "score": 3.0, **more}


@pytest.fixture
def make(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(webhook_module, "_FIRST_DELAY_S", 0.05)
    monkeypatch.setattr(webhook_module, "_LONGEST_DELAY_S", 0.2)
    made: list[Webhook] = []

    def build(**config: object) -> Webhook:
        settings = {"url": receiver.url, "queue": tmp_path / "outbox.sqlite3", "timeout_s": 0.3, **config}
        made.append(Webhook(WebhookConfig(**settings), random.Random(0)))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for webhook in made:
        webhook.close()


def n_waiting(tmp_path: Path) -> int:
    outbox = Outbox(tmp_path / "outbox.sqlite3", 1000)
    n = outbox.n_waiting()
    outbox.close()
    return n


def waiting_keys(tmp_path: Path) -> set[str]:
    outbox = Outbox(tmp_path / "outbox.sqlite3", 1000)
    keys = {row[0] for row in outbox._execute("SELECT key FROM messages WHERE refused IS NULL")}
    outbox.close()
    return keys


def test_a_line_is_posted_as_it_is_with_an_id_of_its_own(make: Make, receiver: Receiver, tmp_path: Path) -> None:
    webhook = make(token="letmein")
    webhook.put(line(1))
    webhook.put(line(1, "end", end_s=3.0))
    receiver.wait_for(2)
    assert [body for _, body in receiver.requests] == [line(1), line(1, "end", end_s=3.0)]
    headers = receiver.requests[0][0]
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer letmein"
    assert receiver.keys == [f"{1:032x}-start", f"{1:032x}-end"]
    wait_until(lambda: n_waiting(tmp_path) == 0, "empty queue")


def test_each_update_of_an_event_has_an_id_of_its_own() -> None:
    lines = [line(1), line(1, "update", duration_s=1.0), line(1, "update", duration_s=2.0), line(1, "end")]
    assert len({message_key(entry) for entry in lines}) == 4


def test_only_what_is_wanted_is_posted(make: Make, receiver: Receiver) -> None:
    webhook = make(sounds=("dog",), on=("start", "source"))
    webhook.put(line(1))
    webhook.put(line(2, "end", sound="dog"))
    webhook.put(line(3, sound="dog"))
    webhook.put({"schema": 1, "type": "source", "id": "a" * 32, "state": "lost"})
    receiver.wait_for(2)
    webhook.close()
    assert receiver.keys == [f"{3:032x}-start", "a" * 32 + "-source"]


@pytest.mark.parametrize("status", [500, 503, 429, 404, 401, 302])
def test_a_failure_is_tried_again_under_the_same_id_and_in_order(make: Make, receiver: Receiver, status: int) -> None:
    receiver.answer = lambda n: status if n < 3 else 200
    webhook = make()
    webhook.put(line(1))
    webhook.put(line(2))
    receiver.wait_for(5)
    assert receiver.keys == [f"{1:032x}-start"] * 4 + [f"{2:032x}-start"]


def test_a_message_that_is_refused_does_not_hold_up_those_behind_it(
    make: Make, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer = lambda n: 422 if n == 0 else 200
    webhook = make()
    webhook.put(line(1))
    webhook.put(line(2))
    receiver.wait_for(2)
    wait_until(lambda: n_waiting(tmp_path) == 0, "empty queue")
    webhook.close()
    assert receiver.keys == [f"{1:032x}-start", f"{2:032x}-start"]
    assert "will not take event" in caplog.text


def test_a_receiver_that_hangs_is_tried_again(make: Make, receiver: Receiver) -> None:
    receiver.hang_s = 1.0
    webhook = make()
    webhook.put(line(1))
    receiver.wait_for(2)
    receiver.hang_s = 0.0
    webhook.put(line(2))
    wait_until(lambda: f"{2:032x}-start" in receiver.keys, "second event")
    assert set(receiver.keys) == {f"{1:032x}-start", f"{2:032x}-start"}


def test_a_receiver_that_dies_and_comes_back_gets_everything_once(
    make: Make, receiver: Receiver, tmp_path: Path
) -> None:
    webhook = make()
    webhook.put(line(0))
    receiver.wait_for(1)
    receiver.stop()
    for number in range(1, 6):
        webhook.put(line(number))
    assert n_waiting(tmp_path) >= 5
    receiver.start()
    receiver.wait_for(6)
    wait_until(lambda: n_waiting(tmp_path) == 0, "empty queue")
    assert receiver.keys == [f"{number:032x}-start" for number in range(6)]


def test_what_could_not_be_delivered_is_sent_after_a_restart(make: Make, receiver: Receiver) -> None:
    receiver.stop()
    webhook = make()
    webhook.put(line(1))
    webhook.close()
    receiver.start()
    make()
    receiver.wait_for(1)
    assert receiver.keys == [f"{1:032x}-start"]


def test_a_receiver_may_ask_to_be_left_alone_for_a_while(make: Make, receiver: Receiver) -> None:
    receiver.answer = lambda n: 429 if n == 0 else 200
    receiver.headers = {"Retry-After": "1"}
    webhook = make()
    with pytest.MonkeyPatch.context() as patch:
        asked: list[float] = []
        patch.setattr(webhook._closing, "wait", lambda delay_s: asked.append(delay_s))
        webhook.put(line(1))
        receiver.wait_for(2)
    assert asked == [1.0]


def test_ending_delivers_what_can_be_and_keeps_the_rest_without_waiting_for_it(
    make: Make, receiver: Receiver, tmp_path: Path
) -> None:
    webhook = make()
    webhook.put(line(0))
    receiver.wait_for(1)
    for number in range(1, 20):
        webhook.put(line(number))
    webhook.close()
    webhook._thread.join()  # close() waits only a moment for a request under way
    assert sorted(set(receiver.keys) | waiting_keys(tmp_path)) == sorted(f"{n:032x}-start" for n in range(20))


def test_when_too_much_waits_the_oldest_is_given_up_and_that_is_said(
    make: Make, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.stop()
    webhook = make(most_waiting=3)
    for number in range(5):
        webhook.put(line(number))
    assert n_waiting(tmp_path) == 3
    receiver.start()
    receiver.wait_for(3)
    assert receiver.keys[-2:] == [f"{3:032x}-start", f"{4:032x}-start"]
    assert "the oldest is given up" in caplog.text


def test_a_full_disk_loses_nothing(make: Make, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    real, full = Outbox.put, True

    def put(self: Outbox, message: Message) -> None:
        if full:
            raise EarmarkError("cannot use the webhook's queue (database or disk is full)")
        real(self, message)

    monkeypatch.setattr(Outbox, "put", put)
    webhook = make()
    for number in range(3):
        webhook.put(line(number))
    assert len(webhook._backlog) == 3
    full = False
    webhook._backlog._next_try = 1e-9  # the five seconds have passed
    webhook.tick()
    receiver.wait_for(3)
    assert receiver.keys == [f"{number:032x}-start" for number in range(3)]


def test_a_disk_that_is_full_when_a_message_was_delivered_does_not_send_it_again(
    make: Make, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, n_failures = Outbox.remove, 3

    def remove(self: Outbox, key: str) -> None:
        nonlocal n_failures
        n_failures -= 1
        if n_failures >= 0:
            raise EarmarkError("database or disk is full")
        real(self, key)

    monkeypatch.setattr(Outbox, "remove", remove)
    webhook = make()
    webhook.put(line(1))
    webhook.put(line(2))
    receiver.wait_for(2)
    webhook.close()
    assert receiver.keys == [f"{1:032x}-start", f"{2:032x}-start"]


def test_two_programs_with_one_queue_send_each_line_once(make: Make, receiver: Receiver, tmp_path: Path) -> None:
    first, second = make(), make()
    for number in range(0, 20, 2):
        first.put(line(number))
        second.put(line(number + 1))
    receiver.wait_for(20)
    wait_until(lambda: n_waiting(tmp_path) == 0, "empty queue")
    assert sorted(receiver.keys) == [f"{number:032x}-start" for number in range(20)]


def test_no_secret_reaches_the_log_whatever_happens(
    make: Make, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer = lambda n: (500, 422, 200)[min(n, 2)]
    webhook = make(token="s3cr3t-token")
    webhook.put(line(1))
    webhook.put(line(2))
    receiver.wait_for(3)
    receiver.stop()
    webhook.put(line(3))
    wait_until(lambda: "cannot be reached" in caplog.text, "complaint")
    webhook.close()
    assert "s3cr3t" not in caplog.text


def test_the_token_may_stand_in_a_file(make: Make, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    make(token_file=tmp_path / "token").put(line(1))
    receiver.wait_for(1)
    assert receiver.requests[0][0]["Authorization"] == "Bearer from-a-file"
    with pytest.raises(EarmarkError, match="cannot read the webhook's token from"):
        make(token_file=tmp_path / "none")
    (tmp_path / "token").write_text("two\nlines")
    with pytest.raises(EarmarkError, match="holds no token"):
        make(token_file=tmp_path / "token")


SENDER = """
import itertools, pathlib, sys
from device_app.config import WebhookConfig
from device_app.outputs import webhook
webhook._FIRST_DELAY_S = webhook._LONGEST_DELAY_S = 0.05
hook = webhook.Webhook(WebhookConfig(url=sys.argv[1], queue=pathlib.Path(sys.argv[2]), timeout_s=1.0))
for number in itertools.count(int(sys.argv[3])):
    hook.put({"type": "start", "id": f"{number:032x}", "sound": "bell"})
    if not len(hook._backlog):  # else a part of it waits in memory for the disk
        print(number, flush=True)
"""


def test_a_sender_that_is_killed_again_and_again_loses_nothing_and_sends_nothing_under_another_id(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it said to be on disk is delivered; what came twice has the same id and body."""
    for name in ("_FIRST_DELAY_S", "_LONGEST_DELAY_S"):
        monkeypatch.setattr(webhook_module, name, 0.05)  # as in the senders: a third of all requests fail
    receiver.answer = lambda n: 500 if n % 3 == 1 else 200
    queued, queue = -1, tmp_path / "outbox.sqlite3"
    for round_ in range(4):
        command = [sys.executable, "-c", SENDER, receiver.url, str(queue), str(1000 * round_)]
        sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
        assert sender.stdout is not None
        for _ in range(25):
            queued = int(sender.stdout.readline())
        if round_ == 1:
            receiver.stop()
        if round_ == 2:
            receiver.start()
        sender.send_signal(signal.SIGKILL)
        rest = sender.stdout.read().split()
        queued = int(rest[-1]) if rest else queued
        sender.stdout.close()
        sender.wait()
        expected = {f"{number:032x}-start" for number in range(1000 * round_, queued + 1)}
        assert expected <= waiting_keys(tmp_path) | set(receiver.keys)
    delivered_by = Webhook(WebhookConfig(url=receiver.url, queue=queue))
    wait_until(lambda: n_waiting(tmp_path) == 0, "empty queue", 60)
    delivered_by.close()
    bodies: dict[str, object] = {}
    for headers, body in receiver.requests:
        key = headers["Idempotency-Key"]
        assert bodies.setdefault(key, body) == body
        assert key == f"{body['id']}-start"
