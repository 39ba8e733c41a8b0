"""Each event posted to an HTTP address: in order, tried again until it is taken, under an id that stays the same.

A line is on disk before it is sent and is removed after the receiver answered 2xx, so a crash in between sends it
again: the receiver tells that by the header ``Idempotency-Key``. URL and token are never logged.
"""

import json
import logging
import random
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import filelock
import urllib3

from device_app import __version__
from device_app.config import EVERY_SOUND, WebhookConfig
from device_app.errors import EarmarkError
from device_app.outputs.backlog import Backlog
from device_app.outputs.outbox import Message, Outbox, default_outbox_path

_log = logging.getLogger(__name__)
logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # it would log the path, which may be a secret

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 300.0
_CLOSE_S = 3.0
"""How long the end of the program waits for what can still be delivered."""
_REFUSALS = frozenset({400, 413, 415, 422})
"""The receiver will never take this message: it is set aside so that those behind it are not held up. Any other
failure (a wrong token or address among them) is mended over there or in the settings, and then all of it is wanted."""


class Webhook:
    """A thread that posts what waits in the queue.

    Args:
        config: With a ``url``.
        random_delay: Source of the spread of the delays.

    Raises:
        EarmarkError: If the file that holds the token cannot be read.
    """

    def __init__(self, config: WebhookConfig, random_delay: random.Random | None = None) -> None:
        assert config.url is not None
        self._config = config
        self._url = config.url
        self._host = urlsplit(config.url).hostname
        self._headers = {"Content-Type": "application/json", "User-Agent": f"earmark/{__version__}"}
        token = _read_token(config.token_file) if config.token_file else config.token
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._random = random_delay or random.Random()
        path = config.queue or default_outbox_path()
        self._inlet = Outbox(path, config.most_waiting)
        self._backlog: Backlog[Message] = Backlog(self._inlet.put)
        self._outlet = Outbox(path, config.most_waiting)
        self._lock = filelock.FileLock(path.with_name(path.name + ".lock"), thread_local=False)
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(config.timeout_s))
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._n_failed = 0
        self._complaint = ""
        self._delivered: str | None = None  # sent, but not yet removed: the disk was full
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def put(self, line: Mapping[str, Any]) -> None:
        """Queue a line, if it is one that is wanted. It is on disk when this returns, or waits for space there."""
        sounds = self._config.sounds
        chosen = "sound" not in line or EVERY_SOUND in sounds or line["sound"] in sounds
        if chosen and line["type"] in self._config.on:
            self._backlog.put(Message(message_key(line), json.dumps(line, ensure_ascii=False)))
            self._wake.set()

    def tick(self) -> None:
        """Try again to write what a full disk refused. Called every second or so."""
        if len(self._backlog):
            self._backlog.flush()
            self._wake.set()

    def retire(self) -> None:
        """Post what can be posted without waiting for it; the rest stays in the queue for another to post."""
        self._backlog.flush(now=True)
        self._closing.set()
        self._wake.set()
        self._inlet.close()

    def close(self) -> None:
        """Deliver what can be delivered within a moment; the rest stays in the queue for the next time."""
        self.retire()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            while True:
                delay_s = self._step()
                if delay_s is None:
                    if self._closing.is_set():
                        return
                    self._wake.wait()
                    self._wake.clear()
                elif delay_s and self._closing.wait(delay_s):
                    return
        finally:
            self._lock.release()
            self._outlet.close()

    def _step(self) -> float | None:
        """Send one message. Returns the seconds to wait before the next, None if there is nothing to send."""
        try:
            if self._delivered is not None:
                self._outlet.remove(self._delivered)
                self._delivered = None
            message = self._outlet.first()
            if message is None:
                return None
            if not self._lock.is_locked:
                self._lock.acquire(timeout=0)
                return 0.0  # look again: whoever had it until now may have sent the message
            status, retry_after_s = self._post(message)
            if 200 <= status < 300:
                self._delivered = message.key
                self._outlet.remove(message.key)
                self._delivered = None
                return self._worked()
            if status in _REFUSALS:
                _log.warning("%s will not take event %s (HTTP %d): it is set aside", self._host, message.key, status)
                self._outlet.refuse(message.key, status)
                return self._worked()
            return self._failed(f"{self._host} answered HTTP {status}", retry_after_s)
        except filelock.Timeout:
            return self._failed("another earmark is posting from the same queue", 0.0)
        except urllib3.exceptions.HTTPError as err:
            return self._failed(f"{self._host} cannot be reached ({type(err).__name__})", 0.0)
        except (EarmarkError, OSError) as err:
            return self._failed(str(err), 0.0)

    def _post(self, message: Message) -> tuple[int, float]:
        """Returns the status, and the seconds that the receiver asks to be left alone."""
        response = self._http.request(
            "POST",
            self._url,
            body=message.body.encode(),
            headers={**self._headers, "Idempotency-Key": message.key},
            redirect=False,
            preload_content=False,
        )
        response.close()  # the answer's body is of no interest
        asked = response.headers.get("Retry-After", "")
        return response.status, float(asked) if asked.isdecimal() else 0.0

    def _worked(self) -> float:
        if self._complaint:
            _log.warning("the webhook works again: %s takes events", self._host)
        self._n_failed, self._complaint = 0, ""
        return 0.0

    def _failed(self, complaint: str, asked_s: float) -> float:
        delay_s = min(_FIRST_DELAY_S * 2.0**self._n_failed, _LONGEST_DELAY_S) * self._random.uniform(0.5, 1.0)
        delay_s = max(delay_s, min(asked_s, 12 * _LONGEST_DELAY_S))
        self._n_failed = min(self._n_failed + 1, 30)
        level = logging.DEBUG if complaint == self._complaint else logging.WARNING
        _log.log(level, "webhook: %s; trying again in %.2g s, nothing is lost", complaint, delay_s)
        self._complaint = complaint
        return delay_s


def message_key(line: Mapping[str, Any]) -> str:
    """What tells a line from all others: the id of its event, and what in its life it tells."""
    if line["type"] == "update":
        return f"{line['id']}-update-{line['duration_s']}"
    return f"{line['id']}-{line['type']}"


def _read_token(path: Path) -> str:
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise EarmarkError(f"cannot read the webhook's token from {path}: {err}; check webhook.token_file") from err
    if not token or not token.isprintable():
        raise EarmarkError(f"{path} holds no token: it must be one line of text; check webhook.token_file")
    return token
