"""``earmark demo``: enrol bundled sounds from five recordings each, hear them in a stream, and say how it went."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import rich.box
import rich.console
import rich.table
import soundfile as sf

from device_app.audio_file import read_native, resample
from device_app.capture import FileSource
from device_app.demo.stream import (
    NATIVE_RATE,
    SAMPLE_RATE,
    Occurrence,
    Stream,
    bundled_clips,
    credits_by_licence,
    mix_stream,
)
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording
from device_app.listening.command import listen
from device_app.listening.recogniser import HeardWindow, Recogniser
from device_app.listening.sound_event import SoundEvent
from device_app.model.embedder import Embedder, load_embedder

_LATE_S = 1.5
"""An event counts for an occurrence if it fires while the sound lasts or up to so long after."""


@dataclass(slots=True)
class Tally:
    """How one sound fared."""

    heard: int = 0
    missed: int = 0
    false: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the demo went."""

    sounds: dict[str, Tally]
    false_causes: dict[str, int]
    """What was really sounding when a false event fired."""
    delays_s: tuple[float, ...]
    """From the onset of each sound that was heard to its event."""
    stream_s: float

    @property
    def heard_share(self) -> float:
        """Share of the taught sounds' occurrences that were heard."""
        n_heard = sum(tally.heard for tally in self.sounds.values())
        return n_heard / max(1, n_heard + sum(tally.missed for tally in self.sounds.values()))

    @property
    def false_per_hour(self) -> float:
        """Events an hour for which nothing of that name sounded."""
        return sum(tally.false for tally in self.sounds.values()) * 3600.0 / self.stream_s


def judge(events: Sequence[SoundEvent], occurrences: Sequence[Occurrence], stream_s: float) -> Outcome:
    """Compare the events that started with what was played; an occurrence heard twice counts once."""
    taught = [entry for entry in occurrences if entry.taught]
    sounds = {entry.sound: Tally() for entry in sorted(taught, key=lambda entry: entry.sound)}
    first_fired: dict[int, float] = {}
    causes: dict[str, int] = {}
    for event in events:
        around = [i for i, entry in enumerate(occurrences) if entry.start_s <= event.fired_s <= entry.end_s + _LATE_S]
        right = [i for i in around if occurrences[i].sound == event.sound]
        if right:
            first_fired.setdefault(right[0], event.fired_s)
            continue
        sounds[event.sound].false += 1
        cause = occurrences[around[0]].sound if around else "background"
        causes[cause] = causes.get(cause, 0) + 1
    for i, entry in enumerate(occurrences):
        if entry.taught:
            sounds[entry.sound].heard += i in first_fired
            sounds[entry.sound].missed += i not in first_fired
    delays = tuple(fired - occurrences[i].start_s for i, fired in sorted(first_fired.items()))
    return Outcome(sounds, dict(sorted(causes.items())), delays, stream_s)


def bundled_stream(seed: int) -> Stream:
    """The stream of the bundled clips; the seed decides order, moments and levels."""
    background = [path for paths in bundled_clips("background").values() for path in paths]
    return mix_stream(bundled_clips("stream"), bundled_clips("untaught"), background, np.random.default_rng(seed))


def enrol_and_hear(
    embedder: Embedder,
    recordings: dict[str, list[Path]],
    stream: Stream,
    on_event: Callable[[SoundEvent], None] | None = None,
    on_window: Callable[[HeardWindow], None] | None = None,
) -> Outcome:
    """Enrol sounds into a fresh profile and listen to a stream, both as a person's own would be.

    Args:
        embedder: The model.
        recordings: Of each sound to enrol.
        stream: What is heard; it is written as a file and taken through the capture process like a microphone's audio.
        on_event: Called with each event that starts, as it is heard.
        on_window: Called with each window.
    """
    heard: list[SoundEvent] = []

    def note(event: SoundEvent, _epoch_s: float) -> None:
        if event.phase == "start":
            heard.append(event)
            if on_event is not None:
                on_event(event)

    with tempfile.TemporaryDirectory(prefix="earmark-demo-") as folder:
        profile = Profile(Path(folder) / "profile")
        with profile.lock():
            for sound, paths in recordings.items():
                profile.add(sound, [NewRecording(*read_native(path), path.name) for path in paths], embedder)
        played = Path(folder) / "stream.wav"
        sf.write(played, resample(stream.waveform, SAMPLE_RATE, NATIVE_RATE), NATIVE_RATE, subtype="PCM_16")
        recogniser = Recogniser(embedder, profile.head(embedder), on_window=on_window)
        listen(FileSource(played), recogniser, note, lambda _notice: None)
    return judge(heard, stream.occurrences, len(stream.waveform) / SAMPLE_RATE)


def print_event(event: SoundEvent) -> None:
    """One line: when in the stream, what, and how sure."""
    minutes, seconds = divmod(event.fired_s, 60.0)
    runner_up = f", then {event.runner_up}" if event.runner_up else ""
    print(
        f"{int(minutes):02d}:{seconds:04.1f}  {event.sound:<14} score {event.score:5.1f}  "
        f"level {event.level_dbfs:5.1f} dBFS{runner_up}",
        flush=True,
    )


def demo(model: Path | None, seed: int, as_json: bool) -> int:
    """Run the demo and print its table. Returns the exit status."""
    started = time.monotonic()
    embedder = load_embedder(model)
    log = rich.console.Console(stderr=True)
    n_clips = sum(credits_by_licence().values())
    log.print(
        f"{n_clips} bundled recordings ({', '.join(sorted(credits_by_licence()))}; credits: "
        "device_app/data/demo/CREDITS.csv). Enrolling four sounds from five recordings each; "
        "the stream holds others of them, and sounds that were never taught.",
        highlight=False,
    )
    stream = bundled_stream(seed)
    outcome = enrol_and_hear(embedder, bundled_clips("enrol"), stream, None if as_json else print_event)
    if as_json:
        print(json.dumps(asdict(outcome) | _rates(outcome)))
    else:
        print_outcome(outcome, rich.console.Console(file=sys.stdout, width=80))
    log.print(f"took {time.monotonic() - started:.0f} s", highlight=False)
    return 0


def _rates(outcome: Outcome) -> dict[str, float]:
    return {"heard_share": outcome.heard_share, "false_per_hour": outcome.false_per_hour}


def print_outcome(outcome: Outcome, console: rich.console.Console) -> None:
    """The closing table: per sound heard, missed and false, and the rates."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    table.add_column("sound")
    for column in ("heard", "missed", "false"):
        table.add_column(column, justify="right")
    for sound, tally in outcome.sounds.items():
        table.add_row(sound, str(tally.heard), str(tally.missed), str(tally.false))
    total = [sum(getattr(tally, name) for tally in outcome.sounds.values()) for name in ("heard", "missed", "false")]
    table.add_section()
    table.add_row("all", *(str(count) for count in total))
    console.print(table)
    console.print(
        f"{outcome.heard_share:.0%} of {total[0] + total[1]} heard; {total[2]} false in "
        f"{outcome.stream_s / 60:.1f} minutes = {outcome.false_per_hour:.1f} an hour.",
        highlight=False,
    )
    if outcome.delays_s:
        console.print(f"Median delay from onset to event: {float(np.median(outcome.delays_s)):.2f} s.", highlight=False)
    if outcome.false_causes:
        causes = ", ".join(f"{name} {count}" for name, count in outcome.false_causes.items())
        console.print(f"False events came during: {causes}.", highlight=False)
