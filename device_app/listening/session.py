"""``earmark listen``: from a source to events and their outputs, until the source ends or someone ends it."""

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device_app.capture import Block, Capture, FileSource, Notice, Source
from device_app.commands.sources import source_of
from device_app.config import EVERY_SOUND, Config
from device_app.config_sources import load_config
from device_app.enrolment.profile import Profile, default_profile_path
from device_app.errors import EarmarkError
from device_app.history.history import default_history_path
from device_app.listening.command import open_capture
from device_app.listening.events import encode
from device_app.listening.recogniser import HeardWindow, Recogniser
from device_app.listening.signals import Signals
from device_app.model.embedder import Embedder, load_embedder
from device_app.outputs.outputs import Outputs
from device_app.room.collector import RoomCollector
from device_app.service.notify import ServiceManager

if TYPE_CHECKING:
    from device_app.live_view.view import PlainView, TerminalView

_log = logging.getLogger(__name__)

_PROFILE_S = 1.0
"""So often it is looked whether another process changed the profile."""


@dataclass(frozen=True, slots=True)
class _Setup:
    """What the settings and the profile amount to. It is made anew when they are read again."""

    config: Config
    source: Source
    embedder: Embedder
    recogniser: Recogniser
    outputs: Outputs
    profile: Profile
    keeps_history: bool
    room: RoomCollector | None


class Session:
    """One run.

    Args:
        flags: Of the command line, by destination; they outlast a reload.
    """

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self._flags = flags
        self._service = ServiceManager()
        self._signals = Signals()
        self._view: TerminalView | PlainView | None = None
        self._epoch_s = 0.0
        self._capture: Capture | None = None
        self._version = (0, 0)  # of the profile, as it was last read or tried to
        self._next_look = 0.0  # at the profile, on the monotonic clock
        try:
            self._setup = self._read_settings(None)
        except BaseException:  # Ctrl-C too: nobody else would end its process
            if self._capture is not None:
                self._capture.close()
            raise

    def run(self) -> int:
        """Listen. Returns the exit status.

        Raises:
            AudioError: If a file cannot be read.
            DeviceError: If a live source cannot be opened and is not waited for, or what it needs is not installed.
        """
        try:
            self._listen()
        finally:
            counts = self._setup.recogniser.counts
            self._setup.outputs.close()
            print(
                f"heard {counts.heard_s:.1f} s of audio in {counts.n_windows} windows, {counts.n_embedded} of them "
                f"loud enough to look at; lost {counts.lost_s:.1f} s",
                file=sys.stderr,
            )
        return 130 if self._signals.stop == signal.SIGINT else 0

    def _listen(self) -> None:
        setup = self._setup
        print(f"listening for {', '.join(setup.profile.taught)} on {setup.source}; Ctrl-C ends it", file=sys.stderr)
        assert self._capture is not None
        self._capture.__enter__()
        with contextlib.ExitStack() as at_the_end:  # each of these, whatever the others do
            at_the_end.callback(self._close_capture)
            if setup.config.listen.live:
                at_the_end.callback(self._open_view(setup).close)
            at_the_end.callback(self._save_room)
            at_the_end.callback(self._end_events)
            with self._signals:
                self._service.ready(self._status())
                while self._signals.stop is None and self._take(self._capture.read(timeout_s=1.0)) and self._ask():
                    if self._signals.reload or self._profile_changed():
                        self._reload()
                self._service.stopping()

    def _close_capture(self) -> None:
        assert self._capture is not None
        self._capture.close()  # a reload may have put another in its place

    def _take(self, items: list[Block | Notice]) -> bool:
        """Take what the source delivered; False at its end."""
        recogniser, outputs = self._setup.recogniser, self._setup.outputs
        for item in items:
            if isinstance(item, Notice):
                if self._view is None:
                    print(item.sentence, file=sys.stderr)
                else:
                    self._view.notice(item.sentence)
                if self._setup.source.live:
                    outputs.source(item)
                    if item.state == "lost" and item.reason != "silent":  # nobody knows when it will be back
                        self._end_events()
                if item.state == "ended":
                    return False
                continue
            self._epoch_s = item.time - item.start_sample / item.sample_rate
            for event in recogniser.push(item):
                outputs.sound(event, self._epoch_s)
            outputs.block(item)
            if self._view is not None:
                self._view.block(item)
            self._service.alive()
        outputs.tick()
        self._service.alive()
        return True

    def _open_view(self, setup: _Setup) -> "TerminalView | PlainView":
        from device_app.live_view.view import open_view  # rich is slow to import, and not needed elsewhere

        self._view = open_view(setup.config.listen.model)
        self._show(setup)
        return self._view

    def _show(self, setup: _Setup) -> None:
        if self._view is not None:
            history = setup.config.listen.history or default_history_path() if setup.keeps_history else None
            self._view.setup(setup.profile, setup.embedder, str(setup.source), history)

    def _ask(self) -> bool:
        """Heed what the person wants; False to leave."""
        if self._view is None:
            return True
        process_id = self._capture.process_id if self._capture else None
        children = (process_id,) if process_id else ()
        wish = self._view.tick(self._setup.recogniser.counts, children)
        self._signals.reload = self._signals.reload or wish == "reload"
        return wish != "leave"

    def _profile_changed(self) -> bool:
        """Whether something else was taught or corrected meanwhile."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + _PROFILE_S
        return Profile.version_of(self._setup.profile.path) != self._version

    def _end_events(self) -> None:
        for event in self._setup.recogniser.finish():
            self._setup.outputs.sound(event, self._epoch_s)

    def _save_room(self) -> None:
        if self._setup.room is not None:
            self._setup.room.save()

    def _status(self) -> str:
        return f"listening for {', '.join(self._setup.profile.taught)} on {self._setup.source}"

    # Settings.

    def _reload(self) -> None:
        """Read settings and profile again; if they are of no use, say so and go on with those at hand."""
        self._signals.reload = False
        self._service.reloading()
        before = self._setup
        try:
            setup = self._read_settings(before)
        except EarmarkError as err:
            _log.error("the settings were not read again, the earlier ones stay: %s", err)
        else:
            self._end_events()
            self._save_room()
            before.outputs.retire()
            self._setup = setup
            if setup.source != before.source:
                self._close_capture()
                self._capture = open_capture(setup.source, wait=True).__enter__()
            if self._view is None:
                print(f"settings read again: {self._status()}", file=sys.stderr)
            self._show(setup)
        self._service.ready(self._status())

    def _read_settings(self, before: _Setup | None) -> _Setup:
        config = load_config(self._flags)
        listen = config.listen
        path = listen.profile or default_profile_path()
        self._version = Profile.version_of(path)  # read before the profile: what changes meanwhile is seen later
        profile = Profile(path)
        profile.require_taught()
        source = source_of(listen)
        if before is None:  # its process starts while the model is loaded here
            self._capture = open_capture(source, wait=listen.wait)
            self._capture.start()
        known = before is not None and before.config.listen.model == listen.model
        embedder = before.embedder if before is not None and known else load_embedder(listen.model)
        head = profile.head(embedder)
        _warn_of_untaught(config, profile.taught)
        recogniser = Recogniser(embedder, head, settings=profile.settings, on_window=self._on_window, live=source.live)
        keep_history = listen.history is not None or not isinstance(source, FileSource)
        outputs = Outputs(config, embedder.metadata.model_id, self._emit, keep_history=keep_history)
        room = RoomCollector(profile.path, embedder.metadata.model_id) if listen.learn_room else None
        return _Setup(config, source, embedder, recogniser, outputs, profile, keep_history, room)

    def _emit(self, line: Mapping[str, Any]) -> None:
        if self._view is None:
            print(encode(line), flush=True)
        else:
            self._view.line(line)

    def _on_window(self, window: HeardWindow) -> None:
        if self._view is not None:
            self._view.window(window)
        if self._setup.room is not None:
            self._setup.room.window(window)


def _warn_of_untaught(config: Config, taught: list[str]) -> None:
    named = {*config.exec.commands, *(config.webhook.sounds if config.webhook.url else ())}
    for sound in sorted(named - set(taught) - {EVERY_SOUND}):
        _log.warning("the settings name the sound %r, which is not taught: %s are", sound, ", ".join(taught))
