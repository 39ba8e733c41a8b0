"""The thread that reads the capture process, judges it, and starts another in its place.

The source runs in a process of its own (:mod:`device_app.capture.child`). PortAudio freezes its list of devices when it
is initialised and may hang or go silent for good when a device goes away; a new process is the remedy for all of it.
"""

import contextlib
import logging
import math
import os
import selectors
import threading
import time
from dataclasses import asdict
from typing import Any

from device_app.capture.blocks import Block, Notice, Reason
from device_app.capture.child_process import ChildProcess
from device_app.capture.inbox import Inbox
from device_app.capture.patience import Patience
from device_app.capture.protocol import ProtocolError, decode_waveform
from device_app.capture.retries import LossError, Retries
from device_app.capture.sources import FileSource, MicrophoneSource, NetworkSource, Source, StdinSource

_log = logging.getLogger(__name__)


class Supervisor(threading.Thread):
    """Keeps one source running and puts what it delivers into an inbox.

    Args:
        source: What to capture.
        inbox: Where blocks, notices and the last error go.
        block_s: Length of a block, seconds.
        buffer_s: Seconds of audio that the process may keep while this thread does not read.
        retry: Whether a lost source is tried again for ever.
        must_start: Whether a source that cannot be opened at first is an error all the same.
        patience: How long to wait before acting.
    """

    def __init__(
        self,
        source: Source,
        inbox: Inbox,
        *,
        block_s: float,
        buffer_s: float,
        retry: bool,
        must_start: bool,
        patience: Patience,
    ) -> None:
        super().__init__(name="capture", daemon=True)
        self.opened = threading.Event()
        """Set once the source is open, or never will be."""
        self.sample_rate = 0
        """Hz, as the source was last opened; 0 while it was not."""
        self.process_id: int | None = None
        """Of the capture process, while there is one."""
        self._source, self._inbox, self._patience = source, inbox, patience
        self._block_s, self._buffer_s = block_s, buffer_s
        self._retries = Retries(patience, for_ever=retry, must_start=must_start, live=source.live)
        self._closing = False
        self._paused = False
        self._wake_out = self._wake_in = -1
        self._start_time = time.time()
        self._position = 0  # just behind the last sample that went into the inbox
        self._block_rate = 0  # Hz, of that sample
        self._file, self._origin_s = 0, 0.0  # which of a folder's it is from, and where that one starts
        self._end_monotonic = math.nan  # its moment
        self._first_block = self._last_block = math.nan  # when this process's came, on the monotonic clock
        self._last_sound = math.nan  # when anything but exact zeros was last heard, likewise; it may have come later
        self._sounding = False  # whether the last block held any
        self._fresh = True  # no block yet from this process
        self._heard = False
        self._told: Reason | None = None  # the loss that the caller knows of
        self._hardware = False  # a sound card, rather than a sound server's stream

    def start(self) -> None:
        """Begin: the source is open, or known not to be, when ``opened`` is set."""
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        super().start()

    def close(self) -> None:
        """End the process and this thread."""
        self._closing = True
        self._wake()
        self.join()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def resume(self) -> None:
        """Tell it that the inbox was emptied."""
        if self._paused:
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # enough of them are waiting
            os.write(self._wake_in, b"w")

    def run(self) -> None:
        """Start processes until the file ends, the source fails for good, or the capture is closed."""
        try:
            while not self._closing:
                try:
                    self._run_process()
                    return
                except LossError as lost:
                    if not self._retries.worth_it(lost, self._position):
                        self._inbox.fail(lost.as_error())
                        return
                    self._wait_for_retry(lost)
        except Exception as err:  # a fault of ours must reach the caller, not only this thread's end
            self._inbox.fail(err)
        finally:
            self._inbox.close()
            self.opened.set()

    # One process.

    def _run_process(self) -> None:
        """Read one process until the file ends or the capture is closed; :class:`LossError` if it fails before."""
        self._fresh = True
        stdin = self._source.fd if isinstance(self._source, StdinSource) else None
        child = ChildProcess(self._order(), stdin)
        self.process_id = child.process.pid
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake_out, selectors.EVENT_READ)
                selector.register(child.data_fd, selectors.EVENT_READ)
                selector.register(child.log_fd, selectors.EVENT_READ)
                while not self._closing:
                    self._pause_while_full(selector, child)
                    ready = {key.fd for key, _ in selector.select(self._until_next_check())}
                    if self._wake_out in ready:
                        os.read(self._wake_out, 4096)
                    if child.log_fd in ready and not child.read_log():
                        selector.unregister(child.log_fd)
                    if child.data_fd in ready and self._take(child):
                        return
                    self._check(child)
        finally:
            self.process_id = None
            child.end()

    def _order(self) -> dict[str, Any]:
        order: dict[str, Any] = {**asdict(self._source), "block_s": self._block_s}
        match self._source:
            case FileSource(path=path):
                start_s = self._position / self._block_rate if self._block_rate else 0.0
                told = {"first_file": self._file, "origin_s": self._origin_s, "start_s": start_s}
                told |= {"start_time": self._start_time, "heard": self._heard}
                return {**order, **told, "kind": "file", "path": str(path)}
            case StdinSource():
                return {**order, "kind": "stdin"}
            case NetworkSource():
                return {**order, "kind": "network"}
            case MicrophoneSource():
                return {**order, "kind": "microphone", "buffer_s": self._buffer_s}

    def _pause_while_full(self, selector: selectors.BaseSelector, child: ChildProcess) -> None:
        """What is not live waits for its reader: what is not taken from the pipe stops its process."""
        pause = not self._source.live and self._inbox.full
        if pause and not self._paused:
            self._paused = True
            if self._inbox.full:  # still, now that a reader would wake us
                selector.unregister(child.data_fd)
                return
            self._paused = False
        elif not pause and self._paused:
            selector.register(child.data_fd, selectors.EVENT_READ)
            self._paused = False
            self._last_block = time.monotonic()

    def _until_next_check(self) -> float | None:
        return None if self._paused else 0.25

    def _take(self, child: ChildProcess) -> bool:
        """Pass on what the process said; True at the end of a file."""
        try:
            frames = child.read_frames()
        except ProtocolError as err:
            raise self._crashed(f"its process sent what is not audio ({err})") from err
        if frames is None:
            status = child.exit_status()
            how = f"signal {-status}" if status < 0 else f"status {status}: {child.last_words}"
            raise self._crashed(f"its process ended ({how})")
        return any(self._take_frame(header, payload) for header, payload in frames)  # nothing follows the end

    def _take_frame(self, header: dict[str, Any], payload: bytes) -> bool:
        match header["type"]:
            case "open":
                self.sample_rate = int(header["sample_rate"])
                if header.get("file", 0) != self._file:  # the next one of a folder
                    self._file = header["file"]
                    self._origin_s = self._position / (self._block_rate or self.sample_rate)
                    self._position = round(self._origin_s * self.sample_rate)
                    self._block_rate = self.sample_rate
                self._hardware = header["device"].startswith(("usb:", "alsa:"))
                self.opened.set()
            case "block":
                self._take_block(header, decode_waveform(payload))
            case "end":
                self._notify(Notice("ended", f"{self._source} ended", time.time()))
                return True
            case "unreadable":
                self._tell_lost("unreadable", header["sentence"])
            case "error":
                raise LossError(header["reason"], header["sentence"], header["kind"])
            case other:
                raise self._crashed(f"its process sent {other!r}")
        return False

    def _take_block(self, header: dict[str, Any], waveform: Any) -> None:
        now = time.monotonic()
        n_lost = int(header["n_lost"])
        if self._fresh and self._block_rate and self._source.live:
            # Another process, maybe another device: the clock went on while nothing was recorded.
            gap_s = max(0.0, header["monotonic"] - self._end_monotonic)
            n_lost += round(gap_s * self.sample_rate)
            self._position = round(self._position * self.sample_rate / self._block_rate)
        if self._fresh:
            self._first_block = now
        if self._fresh and self._told != "silent":
            self._last_sound = now  # give a new process the time to hear something
        start = self._position + n_lost
        block = Block(waveform, self.sample_rate, start, n_lost, header["time"])
        self._position, self._block_rate = block.end_sample, self.sample_rate
        self._end_monotonic = header["monotonic"] + waveform.size / self.sample_rate
        self._last_block = now
        self._sounding = bool(waveform.any())
        if self._sounding:
            self._heard = True
            self._last_sound = min(now, self._end_monotonic)
            self._retries.sound_came()
        if (self._told and self._sounding) or (self._fresh and self._told != "silent"):
            what = "is recording" if isinstance(self._source, MicrophoneSource) else "is being read"
            self._notify(Notice("running", f"{self._source} {what} at {self.sample_rate} Hz", time.time()))
        self._fresh = False
        self._inbox.put_block(block)

    # Judgement.

    def _check(self, child: ChildProcess) -> None:
        """Look at the clock after everything that came was taken."""
        if self._paused or isinstance(self._source, StdinSource):  # a pipe may be quiet for as long as it likes
            return
        now = time.monotonic()
        if self._fresh:
            if now - child.started > self._patience.start_s:
                raise LossError(
                    "hung", f"{self._source} delivered nothing within {self._patience.start_s:g} s", self._kind()
                )
            slow = now - child.started > self._patience.slow_start_s
            if slow and self._told is None and self._source.live:
                self._tell_lost("hung", f"{self._source} has not begun to deliver yet")
            return
        hung_s = self._block_s + (self._patience.hung_s if self._source.live else self._patience.start_s)
        if now - self._last_block > hung_s:
            raise LossError("hung", f"{self._source} has delivered nothing for {hung_s:.1f} s", self._kind())
        quiet_s = now - self._last_sound
        if not self._source.live or quiet_s <= self._patience.silent_s:
            return
        stalled = now - self._last_block > self._patience.silent_s / 2
        if self._told is None and stalled:
            self._tell_lost("hung", f"{self._source} has stopped delivering")
        elif self._told != "silent" and not stalled and not self._sounding:
            sentence = f"{self._source} delivers nothing but zeros: is it muted or unplugged? Recording goes on"
            self._tell_lost("silent", sentence)
        elif self._told == "silent" and self._retries.too_silent(
            now - max(self._last_sound, self._first_block), hardware=self._hardware
        ):
            raise LossError("silent", f"{self._source} has delivered nothing but zeros for {quiet_s:.0f} s", "device")

    def _crashed(self, what: str) -> LossError:
        return LossError("crashed", f"{self._source} was lost: {what}", self._kind())

    def _kind(self) -> str:
        return "device" if self._source.live else "audio"

    def _wait_for_retry(self, lost: LossError) -> None:
        self._tell_lost(lost.reason, lost.sentence)
        attempt, delay_s = self._retries.next_attempt(0.0 if self._fresh else self._last_block - self._first_block)
        if lost.reason == "silent":  # it does deliver: be back before the sound that ends the silence
            delay_s = 0.0
        sentence = f"{lost.sentence}; trying again in {delay_s:g} s (attempt {attempt})"
        self._notify(Notice("retrying", sentence, time.time(), lost.reason, attempt, delay_s))
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_out, selectors.EVENT_READ)
            until = time.monotonic() + delay_s
            while not self._closing and (left := until - time.monotonic()) > 0:
                if selector.select(left):
                    os.read(self._wake_out, 4096)

    def _tell_lost(self, reason: Reason, sentence: str) -> None:
        if self._told != reason:
            self._notify(Notice("lost", sentence, time.time(), reason))

    def _notify(self, notice: Notice) -> None:
        if notice.state == "lost":
            self._told = notice.reason
        elif notice.state == "running":
            self._told = None
        _log.debug("%s: %s", notice.state, notice.sentence)
        self._inbox.put_notice(notice)
