"""How a source can be lost, whether another attempt is worth making, and when."""

from device_app.capture.blocks import Reason
from device_app.capture.patience import Patience
from device_app.errors import AudioError, DeviceError, EarmarkError

_MOST_FILE_RESTARTS = 5
"""A file that crashes its reader this often at one place will do so for ever."""

_FIRST_SILENCE_S = 5.0
_LONGEST_SILENCE_S = 60.0


class LossError(Exception):
    """The capture process is of no use any more.

    Args:
        reason: For the notice.
        sentence: What happened and where.
        kind: Which error it is, if it is not retried: ``library``, ``device`` or ``audio``.
    """

    def __init__(self, reason: Reason, sentence: str, kind: str) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason
        self.sentence = sentence
        self.kind = kind

    def as_error(self) -> EarmarkError:
        """What the caller is told if there is no other attempt."""
        if self.kind == "audio":
            return AudioError(self.sentence + ("; check the file" if self.reason in ("crashed", "hung") else ""))
        if self.reason == "missing":
            return DeviceError(self.sentence)
        return DeviceError(f"{self.sentence}; check that it is plugged in: `earmark devices` lists what there is")


class Retries:
    """When to start a source again that was lost: with growing delays, for ever.

    Args:
        patience: The delays.
        for_ever: Whether to try again at all.
        must_start: Whether the source must have delivered once before it is tried again.
        live: Whether it goes on by itself. What is wrong with a file stays wrong, save that its process can be killed.
    """

    def __init__(self, patience: Patience, *, for_ever: bool, must_start: bool, live: bool) -> None:
        self._patience = patience
        self._for_ever, self._must_start, self._live = for_ever, must_start, live
        self._n_failed = 0
        self._file_position, self._n_here = -1, 0
        self._n_silent = 0

    def worth_it(self, lost: LossError, position: int) -> bool:
        """Whether to try again.

        Args:
            lost: What happened.
            position: How far the source came, in samples; 0 if it never delivered.
        """
        if not self._for_ever or lost.kind == "library" or (self._must_start and position == 0):
            return False
        if self._live:
            return True
        if lost.reason not in ("crashed", "hung"):
            return False
        self._n_here = self._n_here + 1 if position == self._file_position else 1
        self._file_position = position
        return self._n_here <= _MOST_FILE_RESTARTS

    def next_attempt(self, ran_s: float) -> tuple[int, float]:
        """Count an attempt.

        Args:
            ran_s: For how long the source delivered before it was lost.

        Returns:
            Its number, from 1, and the seconds to wait before it.
        """
        if ran_s > self._patience.longest_delay_s:  # it did work: this is another loss
            self._n_failed = 0
        delay_s = min(self._patience.first_delay_s * 2.0**self._n_failed, self._patience.longest_delay_s)
        self._n_failed += 1
        return self._n_failed, delay_s

    def too_silent(self, silent_s: float, *, hardware: bool) -> bool:
        """Whether a microphone that delivers nothing but zeros should be opened anew.

        A sound card's converter always gives some noise, so exact zeros from one are a fault (or its mute switch), and
        opening it again is the remedy. A sound server's stream is zeros whenever it is muted or nothing plays, and the
        server moves the stream by itself when a device comes back (PulseAudio 16 does): there a restart could only lose
        the first second of the sound that ends the silence, so it is reported and left alone.

        Args:
            silent_s: How long it has been silent since it was last opened, seconds.
            hardware: Whether it is a sound card rather than a sound server's stream.
        """
        if not self._for_ever or not hardware:
            return False
        if silent_s <= min(_FIRST_SILENCE_S * 2.0**self._n_silent, _LONGEST_SILENCE_S):
            return False
        self._n_silent += 1
        return True

    def sound_came(self) -> None:
        """The microphone delivers sound: a later silence is a new one."""
        self._n_silent = 0
