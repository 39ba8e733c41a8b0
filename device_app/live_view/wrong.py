"""The key for what was wrong: hands the last event to `earmark wrong` in a process of its own, and says how it went.

Learning takes scikit-learn, which the listening does without, and a second, in which it must go on.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


class WrongMarker:
    """Runs one correction at a time.

    Args:
        profile: Of the taught sounds.
        model: None for the shipped one.
        history: Where the events are kept; None if they are not.
    """

    def __init__(self, profile: Path, model: Path | None, history: Path | None) -> None:
        self._arguments = [f"--profile={profile}", *([f"--model={model}"] if model else [])]
        self._history = history
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object

    def mark(self, event_id: str | None) -> str:
        """Begin to learn that an event was wrong. Returns what to tell the person."""
        if event_id is None:
            return "nothing was heard yet that could be wrong"
        if self._history is None:
            return "these events are not kept: name a file with --history to correct them"
        if self._process is not None:
            return "the last correction is still being learned"
        self._output.seek(0)
        self._output.truncate()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "device_app", "wrong", event_id, *self._arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env={**os.environ, "EARMARK_HISTORY": str(self._history)},
            start_new_session=True,
        )
        return "learning that this was wrong ..."

    def finished(self) -> tuple[bool, str] | None:
        """Whether it was learned, and what was said; None while there is nothing new to say."""
        if self._process is None or self._process.poll() is None:
            return None
        learned = self._process.returncode == 0
        self._process = None
        self._output.seek(0)
        said = [line.strip() for line in self._output.read().decode(errors="replace").splitlines() if line.strip()]
        if not said:
            return learned, "learned" if learned else "that could not be learned"
        return learned, ". ".join(said) if learned else said[-1]  # whether it was heeded, then what got worse

    def close(self) -> None:
        """Let a correction that runs come to its end."""
        if self._process is not None:
            self._process.wait()
        self._output.close()
