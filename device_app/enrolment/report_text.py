"""The report of an enrolment as a person reads it."""

import json
from dataclasses import asdict

import rich.box
import rich.console
import rich.table

from device_app.enrolment.report import NOTHING, Report, SoundReport


def as_json(report: Report) -> str:
    """One object a line: each sound's, then what to record next."""
    lines = [json.dumps(asdict(sound), ensure_ascii=False) for sound in report.sounds]
    return "\n".join([*lines, json.dumps({"next_recording": report.next_recording}, ensure_ascii=False)])


def print_report(report: Report, console: rich.console.Console) -> None:
    """A table, then a sentence or two for each sound, then what to record next."""
    table = rich.table.Table("sound", box=rich.box.SIMPLE_HEAD)
    for column in ("recordings", "heard again", "that is at least", "false alarms", "at most"):
        table.add_column(column, justify="right")
    for sound in report.sounds:
        judged = sound.n_judged > 0
        table.add_row(
            sound.sound,
            str(sound.n_recordings),
            f"{sound.n_heard} of {sound.n_judged}" if judged else "not checked",
            f"{sound.recall_low:.0%}" if judged else "",
            rate(sound.false_alarms_per_hour),
            rate(sound.false_alarms_per_hour_at_most),
        )
    console.print(table)
    for sound in report.sounds:
        console.print(f"{sound.sound}: {sentence(sound)}", highlight=False)
    console.print(f"What would help most: {report.next_recording}.", highlight=False)


def sentence(sound: SoundReport) -> str:
    """What is known of one sound, in words."""
    if not sound.n_judged:
        heard = "one recording alone cannot be checked"
    else:
        still = "still only means" if sound.n_heard == sound.n_judged else "means"
        bound = f"at least {sound.recall_low:.0%}" if sound.n_heard else f"at most {sound.recall_high:.0%}"
        heard = (
            f"{sound.n_heard} of {sound.n_judged} heard when only the others were taught, which {still} {bound} "
            "of new ones"
        )
    lost = ", ".join(
        f"{count} not heard at all" if other == NOTHING else f"{count} taken for {other}"
        for other, count in sound.taken_for.items()
    )
    return f"{heard}{f'; {lost}' if lost else ''}. {sound.in_words.capitalize()}."


def rate(per_hour: float) -> str:
    """A rate in the unit that gives a number above one, or the smallest unit there is."""
    for unit, hours in (("an hour", 1.0), ("a day", 24.0), ("a week", 168.0)):
        if per_hour * hours >= 1.0:
            return f"{per_hour * hours:.1f} {unit}"
    return f"{per_hour * 24.0 * 365.0:.1f} a year"
