"""``earmark listen``: from a source to events on stdout, until the source ends or Ctrl-C."""

import sys
from collections.abc import Callable
from pathlib import Path

from device_app.capture import Capture, MicrophoneSource, Notice, Source
from device_app.embedder import load_embedder
from device_app.enrolment.profile import Profile, default_profile_path
from device_app.listening.detector import SoundEvent
from device_app.listening.events import EventWriter
from device_app.listening.recogniser import Recogniser


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
        source: A microphone or a file.
        recogniser: Fresh: its clock starts with the source's.
        on_event: Called with each start and end, and the wall clock at the zero of the source's clock.
        on_notice: Called with each change in the source's state.
        wait: Whether a microphone that is missing at the start is waited for, like one that is lost later.

    Raises:
        AudioError: If a file cannot be read.
        DeviceError: If the microphone cannot be opened and is not waited for, or PortAudio is missing.
    """
    epoch_s = 0.0
    with Capture(source, retry=isinstance(source, MicrophoneSource), must_start=not wait) as capture:
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


def print_events(source: Source, profile_path: Path | None, model_path: Path | None, *, wait: bool) -> int:
    """Listen, with events as JSON lines on stdout and the state of the source on stderr. Returns the exit status.

    Raises:
        ProfileError: If nothing has been taught.
    """
    profile = Profile(profile_path or default_profile_path())
    embedder = load_embedder(model_path)
    recogniser = Recogniser(embedder, profile.head(embedder))
    writer = EventWriter()
    print(f"listening for {', '.join(profile.taught)} on {source}; Ctrl-C ends it", file=sys.stderr)

    def on_notice(notice: Notice) -> None:
        print(notice.sentence, file=sys.stderr)
        if isinstance(source, MicrophoneSource):
            print(writer.source(notice), flush=True)

    def on_event(event: SoundEvent, epoch_s: float) -> None:
        print(writer.sound(event, epoch_s), flush=True)

    try:
        listen(source, recogniser, on_event, on_notice, wait=wait)
    finally:
        counts = recogniser.counts
        print(
            f"heard {counts.heard_s:.1f} s of audio in {counts.n_windows} windows, {counts.n_embedded} of them loud "
            f"enough to look at; lost {counts.lost_s:.1f} s",
            file=sys.stderr,
        )
    return 0
