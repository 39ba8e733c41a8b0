"""Everything that a source delivers through a recogniser, as the demo and the benchmarks use it."""

from collections.abc import Callable

from device_app.capture import Capture, Notice, Source
from device_app.listening.recogniser import Recogniser
from device_app.listening.sound_event import SoundEvent


def listen(
    source: Source,
    recogniser: Recogniser,
    on_event: Callable[[SoundEvent, float], None],
    on_notice: Callable[[Notice], None],
    *,
    wait: bool = False,
) -> None:
    """Hand everything that a source delivers to the recogniser, and its events on as they come.

    Args:
        source: What to listen to.
        recogniser: Fresh: its clock starts with the source's.
        on_event: Called with each start, update and end, and the wall clock at the zero of the source's clock.
        on_notice: Called with each change in the source's state.
        wait: Whether a live source that is missing at the start is waited for, like one that is lost later.

    Raises:
        AudioError: If a file cannot be read.
        DeviceError: If a live source cannot be opened and is not waited for, or what it needs is not installed.
    """
    epoch_s = 0.0
    with open_capture(source, wait=wait) as capture:
        while True:
            for item in capture.read(timeout_s=1.0):
                if isinstance(item, Notice):
                    on_notice(item)
                    if item.state == "ended":
                        for event in recogniser.finish():
                            on_event(event, epoch_s)
                        return
                    continue
                epoch_s = item.time - item.start_sample / item.sample_rate
                for event in recogniser.push(item):
                    on_event(event, epoch_s)


LIVE_BLOCK_S = 0.125
"""As long as the step between two looks at a beginning: each block is looked at as soon as it is there, and wakes two
processes. Shorter ones would wake them more often for nothing, longer ones would be heard later."""


def open_capture(source: Source, *, wait: bool) -> Capture:
    """The capture of a source: a live one is tried again for ever, once it has worked or if it is waited for."""
    block_s = LIVE_BLOCK_S if source.live else 0.1
    return Capture(source, block_s=block_s, retry=source.live, must_start=not wait)
