"""``earmark report``: what the taught sounds are worth."""

from pathlib import Path

import rich.console

from device_app.enrolment.profile import Profile, default_profile_path
from device_app.enrolment.report import Report, make_report
from device_app.enrolment.report_text import as_json, print_report
from device_app.enrolment.sound_names import BACKGROUND, is_taught
from device_app.model.embedder import Embedder, load_embedder


def report(profile_path: Path | None, model_path: Path | None, *, json: bool) -> int:
    """Print the report of a profile. Returns the exit status.

    Raises:
        ProfileError: If nothing has been taught.
    """
    profile = Profile(profile_path or default_profile_path())
    profile.require_taught()
    show_report(profile, load_embedder(model_path), json=json)
    return 0


def show_report(profile: Profile, embedder: Embedder, *, json: bool) -> None:
    """Print the report of a profile on stdout, as lines of JSON or as a table with sentences."""
    made = report_of(profile, embedder)
    if json:
        print(as_json(made))
    else:
        print_report(made, rich.console.Console())


def report_of(profile: Profile, embedder: Embedder) -> Report:
    """Fit a profile's sounds and judge the fit."""
    with profile.reading():
        examples, fit = profile.examples(embedder), profile.fit(embedder)
    metadata = embedder.metadata
    return make_report(
        fit,
        [entry for entry in examples if is_taught(entry.sound)],
        embedder.heads,
        metadata.clip_samples / metadata.sample_rate,
        has_room=any(entry.sound == BACKGROUND for entry in examples),
    )
