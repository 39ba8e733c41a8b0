"""``earmark tune``: thresholds chosen on a recording of where the sounds are to be heard."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rich.box
import rich.console
import rich.progress
import rich.table

from device_app.audio_file import duration_s
from device_app.capture import FileSource
from device_app.enrolment.profile import Profile, default_profile_path
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import AudioError
from device_app.files import write_aside
from device_app.listening.detector import DetectionConfig
from device_app.model.embedder import load_embedder
from device_app.tuning.curve import BUDGETS, SENSITIVITIES, Curve, Point, trace
from device_app.tuning.det_chart import det_svg
from device_app.tuning.labels import Label, read_labels
from device_app.tuning.replay import replay

_DEFAULT_BUDGET = 1.0
_MOST_LISTED = 40


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for one sound."""

    curve: Curve
    budget: float
    """False alarms a day."""
    point: Point | None
    """None if no sensitivity keeps to the budget."""


def tune(
    recording: Path,
    truth: Path | None,
    profile_path: Path | None,
    model_path: Path | None,
    *,
    budget: float | None,
    chart: Path | None,
    write: bool,
    as_json: bool,
) -> int:
    """Replay a recording, print what each sensitivity leads to, and keep what was chosen. Returns the exit status.

    Args:
        recording: A recording, or a folder of them.
        truth: Labels of what it holds; None to count all that fires as false.
        profile_path: None for the default.
        model_path: None for the shipped one.
        budget: False alarms a day of each sound; None for its own setting, or 1.
        chart: SVG file to draw the DET curves into.
        write: Whether the chosen sensitivities go into the profile.
        as_json: One object a sound instead of tables.

    Raises:
        EarmarkError: If something cannot be read or written.
    """
    labels = read_labels(truth) if truth else None
    path = profile_path or default_profile_path()
    profile = Profile(path)
    profile.require_taught()
    if chart and not labels:
        raise AudioError("a DET curve needs to know what was missed: name labels with --truth")
    _warn_of_other_labels(labels, profile.taught)
    embedder = load_embedder(model_path)
    head = profile.head(embedder)
    began = time.monotonic()
    with rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(), console=rich.console.Console(stderr=True), transient=True
    ) as progress:
        task = progress.add_task("listening", total=duration_s(recording))
        replayed = replay(
            FileSource(recording),
            embedder,
            head,
            SENSITIVITIES[-1],
            lambda heard_s: progress.update(task, completed=heard_s),
        )
    took_s = time.monotonic() - began
    speed = replayed.heard_s / took_s
    print(f"heard {replayed.heard_s / 3600:.2f} h in {took_s:.0f} s: {speed:.0f} times real time", file=sys.stderr)
    choices = []
    for sound in head.sounds:
        curve = trace(replayed, sound, labels, profile.settings, DetectionConfig())
        own = budget or profile.settings.get(sound, SoundSettings()).false_alarms_per_day or _DEFAULT_BUDGET
        choices.append(Choice(curve, own, curve.choose(own)))
    for choice in choices:
        if as_json:
            print(json.dumps(_as_object(choice), ensure_ascii=False))
        else:
            _print_choice(choice, rich.console.Console(highlight=False))
    if chart:
        labelled = [choice.curve for choice in choices if choice.curve.n_labelled]
        if not labelled:
            raise AudioError(f"{truth} holds none of the taught sounds: there is no DET curve to draw")
        write_aside(chart, det_svg(labelled).encode())
    if write:
        _write(choices, path)
    elif not as_json:
        print("Nothing was changed; --write puts the chosen sensitivities into the profile.", file=sys.stderr)
    return 0


def _write(choices: Sequence[Choice], path: Path) -> None:
    changed = {choice.curve.sound: choice.point.sensitivity for choice in choices if choice.point is not None}
    with Profile(path).lock():
        profile = Profile(path)  # read again: another process may have changed it
        profile.change_settings(
            {
                sound: replace(profile.settings.get(sound, SoundSettings()), sensitivity=sensitivity)
                for sound, sensitivity in changed.items()
                if sound in profile.sounds
            }
        )
    names = ", ".join(changed) or "no sound"
    print(f"wrote the sensitivity of {names} to {path}; a running earmark takes it up on SIGHUP", file=sys.stderr)


def _warn_of_other_labels(labels: Sequence[Label] | None, taught: Sequence[str]) -> None:
    if labels is None:
        print("nothing says what the recording holds (--truth): all that fires counts as false", file=sys.stderr)
        return
    others = sorted({label.sound for label in labels} - set(taught))
    if others:
        print(f"labels of what is not taught are passed over: {', '.join(others)}", file=sys.stderr)


def _print_choice(choice: Choice, console: rich.console.Console) -> None:
    curve = choice.curve
    hours = curve.heard_s / 3600
    truth = "" if curve.n_labelled is None else f", {curve.n_labelled} labelled"
    table = rich.table.Table(
        title=f"{curve.sound}: {hours:.2f} h{truth}", title_justify="left", box=rich.box.SIMPLE_HEAD
    )
    for column in ("up to a day", "sensitivity", "fired", "false", "false a day", "95 % below", "heard"):
        table.add_column(column, justify="right")
    shown: Point | None = None
    for budget in sorted({*BUDGETS, choice.budget}):
        point = curve.choose(budget)
        if point is None or (point is shown and budget != choice.budget):
            continue
        shown = point
        heard = "" if not curve.n_labelled else f"{point.n_heard} of {curve.n_labelled}"
        rates = (curve.false_per_day(point), curve.false_per_day_bound(point))
        row = [f"{point.sensitivity:+.2f}", str(len(point.events)), str(len(point.false)), *(f"{r:.3g}" for r in rates)]
        table.add_row(f"{budget:g}", *row, heard, style="bold" if budget == choice.budget else "")
    console.print(table)
    if choice.point is None:
        console.print(
            f"{curve.sound} exceeds {choice.budget:g} false alarms a day at any sensitivity: teach it more.\n"
        )
        return
    if curve.false_per_day_bound(curve.points[0]) > choice.budget:
        needed_h = 3.0 * 24.0 / choice.budget  # the rule of three: none in T bounds the rate by 3 / T
        console.print(
            f"{hours:.2f} h without a false alarm would not prove {choice.budget:g} a day: that takes {needed_h:.2g} h."
        )
    console.print(f"At {choice.point.sensitivity:+.2f} these would have fired:")
    for event in choice.point.events[:_MOST_LISTED]:
        console.print(f"  {_clock(event.fired_s)}  score {event.score:4.1f}  {_verdict(choice, event)}")
    if len(choice.point.events) > _MOST_LISTED:
        console.print(f"  and {len(choice.point.events) - _MOST_LISTED} more (--json lists all)")
    console.print()


def _verdict(choice: Choice, event: Any) -> str:
    if choice.curve.n_labelled is None:
        return ""
    return "false" if choice.point is not None and event in choice.point.false else "right"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60.0)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{rest:04.1f}"


def _as_object(choice: Choice) -> dict[str, Any]:
    curve = choice.curve

    def point(entry: Point) -> dict[str, Any]:
        return {
            "sensitivity": entry.sensitivity,
            "fired_s": [round(event.fired_s, 3) for event in entry.events],
            "n_false": len(entry.false),
            "false_per_day": curve.false_per_day(entry),
            "false_per_day_bound": curve.false_per_day_bound(entry),
            "missed_share": curve.missed_share(entry),
        }

    return {
        "sound": curve.sound,
        "heard_s": curve.heard_s,
        "n_labelled": curve.n_labelled,
        "budget_per_day": choice.budget,
        "chosen": None if choice.point is None else point(choice.point),
        "points": [point(entry) for entry in curve.points],
    }
