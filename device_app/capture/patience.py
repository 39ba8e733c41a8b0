"""How long a capture waits before it acts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a capture waits before it acts, in seconds."""

    hung_s: float = 2.5
    """A microphone that delivered and then gives no block for this long is restarted. With the time that a notice
    needs to get through, this keeps every loss within 3 s."""
    silent_s: float = 2.0
    """Exact zeros for longer than this are reported once."""
    slow_start_s: float = 2.8
    """A microphone that has not begun to deliver by then is reported, though not yet restarted."""
    start_s: float = 15.0
    """A process that has not opened its source by then is restarted: a cold start from an SD card takes seconds.
    A file whose process delivers nothing for this long is restarted too: a disk may have to spin up."""
    first_delay_s: float = 0.5
    """Before the first attempt to restart; each further one waits twice as long."""
    longest_delay_s: float = 10.0
