"""A source as a stream of blocks, whatever happens to the device."""

from types import TracebackType

from device_app.capture.blocks import Block, Notice
from device_app.capture.inbox import Inbox
from device_app.capture.patience import Patience
from device_app.capture.sources import Source
from device_app.capture.supervisor import Supervisor


class Capture:
    """Audio from any source, through a supervised process.

    Used as a context manager. Entering waits until the source is open, save for a live one that may be missing at
    first (``retry`` without ``must_start``).

    Args:
        source: What to capture.
        block_s: Length of a block, seconds; the last one of a file may be shorter.
        buffer_s: Seconds of audio kept for a caller who reads late. Beyond it a live source's oldest audio is
            dropped and counted; the reading of one that is not waits.
        retry: Whether a source that is lost is reported by a notice and tried again for ever. Otherwise it is an error.
        must_start: With ``retry``, whether a source that cannot be opened at first is an error all the same.
        patience: How long to wait before acting.

    Raises:
        AudioError: On entering, if the file cannot be read or is empty.
        DeviceError: On entering, if PortAudio is missing, or the microphone is and that is not to be retried.
    """

    def __init__(
        self,
        source: Source,
        *,
        block_s: float = 0.1,
        buffer_s: float = 30.0,
        retry: bool = False,
        must_start: bool = False,
        patience: Patience | None = None,
    ) -> None:
        if block_s <= 0 or buffer_s < block_s:
            raise ValueError(f"block_s={block_s} must be positive, and buffer_s={buffer_s} at least as long")
        self.source = source
        self._wait = not retry or must_start or not source.live
        self._inbox = Inbox(buffer_s, drops=source.live)
        self._supervisor = Supervisor(
            source,
            self._inbox,
            block_s=block_s,
            buffer_s=buffer_s,
            retry=retry,
            must_start=must_start,
            patience=patience or Patience(),
        )
        self._open = False

    def start(self) -> None:
        """Start the process without waiting for it; entering waits."""
        if not self._open:
            self._supervisor.start()
            self._open = True

    def __enter__(self) -> "Capture":
        self.start()
        if self._wait:
            try:
                self._supervisor.opened.wait()
                if not self._supervisor.sample_rate:
                    self._inbox.raise_error()
            except BaseException:  # Ctrl-C too: nobody else would end the process
                self.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sample_rate(self) -> int | None:
        """Hz, of the source as it was last opened; None while it was not."""
        return self._supervisor.sample_rate or None

    @property
    def process_id(self) -> int | None:
        """The capture process, whose load and memory count as ours; None while there is none."""
        return self._supervisor.process_id

    def read(self, timeout_s: float) -> list[Block | Notice]:
        """Everything that came since the last call, waiting up to ``timeout_s`` seconds for something to come.

        Returns:
            Blocks and notices in their order; empty on time-out, and at once after ``ended`` was delivered.

        Raises:
            AudioError: If the file turns out unreadable, silent or no audio, once what came before was delivered.
            DeviceError: If the microphone failed for good, likewise.
        """
        items = self._inbox.take(timeout_s)
        if self._open:
            self._supervisor.resume()
        return items

    def close(self) -> None:
        """End the process. What was not read can still be read."""
        if self._open:
            self._open = False
            self._supervisor.close()
