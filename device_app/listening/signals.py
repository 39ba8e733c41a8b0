"""What the outside asks of a running command by signals, noted for its loop to act on."""

import signal
from types import FrameType, TracebackType


class Signals:
    """Notes SIGTERM, SIGINT and SIGHUP while it is entered.

    The first request to end is only noted, so that what is open can be closed; a second one acts at once.
    """

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        """The signal that asked for the end."""
        self.reload = False
        """Whether SIGHUP came; whoever acts on it sets it back."""

    def __enter__(self) -> "Signals":
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
            return
        self.stop = signal.Signals(number)
        signal.signal(number, self._before[signal.Signals(number)])
