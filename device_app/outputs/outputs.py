"""Hands each event to every output that is configured; none of them can hold up the listening."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from device_app.arrays import FloatArray
from device_app.capture import Block, Notice
from device_app.config import Config
from device_app.history.history import History, default_history_path
from device_app.listening.events import sound_line, source_line
from device_app.listening.sound_event import SoundEvent
from device_app.outputs.backlog import Backlog

_log = logging.getLogger(__name__)


class Outputs:
    """The outputs of one run. What one is not configured is not even imported.

    Args:
        config: Which there are.
        model_id: Of the model that the events were recognised with.
        emit: Called with each line once it is safe on disk: prints it.
        keep_history: Whether events go into the history.

    Raises:
        EarmarkError: If an output cannot be used as it is configured.
    """

    def __init__(
        self, config: Config, model_id: str, emit: Callable[[Mapping[str, Any]], None], *, keep_history: bool
    ) -> None:
        self._model_id = model_id
        self._emit = emit
        self._starts: dict[str, datetime] = {}  # by id: the wall clock may jump while an event lasts
        self._clips = self._webhook = self._exec = None
        history = History(config.listen.history or default_history_path(), config.listen.history_days)
        self._history = history if keep_history else None
        self._unrecorded = Backlog(self._record)
        if config.clips.folder:
            from device_app.outputs.clips import ClipRecorder

            self._clips = ClipRecorder(config.clips)
        if config.exec.commands:
            from device_app.outputs.exec_commands import ExecCommands

            self._exec = ExecCommands(config.exec)
        if config.webhook.url:
            from device_app.outputs.webhook import Webhook

            self._webhook = Webhook(config.webhook)

    def sound(self, event: SoundEvent, epoch_s: float) -> None:
        """Take an event's start, update or end.

        Args:
            event: From the recogniser.
            epoch_s: Wall clock at the zero of the source's clock, seconds since the epoch.
        """
        start = self._starts.setdefault(event.id, datetime.fromtimestamp(epoch_s + event.start_s, UTC))
        clip = None
        if self._clips and event.phase == "start":
            self._clips.start(event)
        if event.phase == "end":
            del self._starts[event.id]
            clip = self._clips.end(event, start) if self._clips else None
        line = sound_line(event, start, str(clip) if clip else None)
        if self._history and event.phase != "update":
            self._unrecorded.put((line, event.embeddings))
        if self._webhook:
            self._webhook.put(line)
        if self._exec:
            self._exec.put(line)
        self._emit(line)

    def source(self, notice: Notice) -> None:
        """Take a change in the source's state."""
        line = source_line(notice)
        if self._webhook:
            self._webhook.put(line)
        self._emit(line)

    def block(self, block: Block) -> None:
        """Take audio, after the events that it caused."""
        if self._clips:
            self._clips.block(block)

    def tick(self) -> None:
        """Let those try again that could not write. Called every second or so."""
        if self._unrecorded:
            self._unrecorded.flush()
        if self._webhook:
            self._webhook.tick()

    def retire(self) -> None:
        """Make way for others without waiting: commands that run go on, what was not posted the others will post."""
        if self._exec:
            self._exec.retire()
        if self._webhook:
            self._webhook.retire()
        self._close_history()

    def close(self) -> None:
        """Write and deliver what can be within a few seconds."""
        if self._exec:
            self._exec.close()
        if self._webhook:
            self._webhook.close()
        self._close_history()

    def _close_history(self) -> None:
        if self._history:
            self._unrecorded.flush(now=True)
            if self._unrecorded:
                _log.error("%d events are not in the history %s", len(self._unrecorded), self._history.path)
            self._history.close()

    def _record(self, item: tuple[dict[str, Any], FloatArray]) -> None:
        assert self._history is not None
        line, embeddings = item
        self._history.record(line, self._model_id, embeddings if embeddings.size else np.zeros((0, 1), np.float32))
