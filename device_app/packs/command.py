"""``earmark pack export`` and ``import``."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device_app.enrolment.profile import Profile, default_profile_path
from device_app.enrolment.profile_index import without_none
from device_app.enrolment.report_command import report_of
from device_app.enrolment.report_text import rate
from device_app.model.embedder import load_embedder
from device_app.packs.exchange import export_pack, import_pack
from device_app.packs.manifest import MOST_RECORDINGS


def export(
    path: Path,
    names: Sequence[str],
    profile_path: Path | None,
    model_path: Path | None,
    *,
    with_audio: bool,
    licence: str,
) -> int:
    """Write a pack. Returns the exit status.

    Raises:
        EarmarkError: If there is nothing to export, or the file cannot be written.
    """
    profile = Profile(profile_path or default_profile_path())
    profile.require_taught()
    embedder = load_embedder(model_path)
    with profile.reading():
        manifest = export_pack(
            profile,
            path,
            embedder,
            names=names,
            with_audio=with_audio,
            licence=licence,
            report=asdict(report_of(profile, embedder)),
        )
    n_recordings = sum(len(entries) for entries in manifest.sounds.values())
    audio = "with their audio" if with_audio else "as embeddings alone, usable with this model alone"
    print(f"{path}: {', '.join(manifest.sounds)}; {n_recordings} recordings, {audio}", file=sys.stderr)
    terms = sorted({entry.licence for entries in manifest.sounds.values() for entry in entries if entry.licence})
    if terms:
        print(f"some came in packs themselves, and keep their licence: {', '.join(terms)}", file=sys.stderr)
    return 0


def take_in(path: Path, renamed: Mapping[str, str], profile_path: Path | None, model_path: Path | None) -> int:
    """Import a pack. Returns the exit status.

    Raises:
        EarmarkError: If the pack is damaged, hostile, of another model, or contradicts what is taught here.
    """
    profile = Profile(profile_path or default_profile_path())
    imported = import_pack(profile, path, load_embedder(model_path), renamed)
    for name, n_new in imported.n_new.items():
        print(f"{name}: {n_new} recordings added, {len(profile.sounds[name])} in all", file=sys.stderr)
        if name in imported.report:
            print(f"{name}: where the pack was made, {_worth(imported.report[name])}", file=sys.stderr)
        if name in imported.settings:
            settings = without_none(asdict(imported.settings[name])).items()
            said = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings)
            print(f"{name}: set as in the pack, {said}", file=sys.stderr)
    if imported.n_audio:
        print(f"{imported.n_audio} recordings that were here without audio have it now", file=sys.stderr)
    if imported.re_embedded:
        print("the pack was made with another model: its recordings were embedded again", file=sys.stderr)
    print(f"licence: {', '.join(imported.licences)}", file=sys.stderr)
    print("`earmark report` says what they are worth here", file=sys.stderr)
    return 0


def _worth(report: Mapping[str, Any]) -> str:
    """What a pack says of a sound; of what anybody may have written, only numbers are believed to be such."""
    n_heard, n_judged, per_hour = (report.get(key) for key in ("n_heard", "n_judged", "false_alarms_per_hour"))
    if not (type(n_heard) is int and type(n_judged) is int and 0 <= n_heard <= n_judged <= MOST_RECORDINGS):
        return "nothing is known of it"
    heard = f"{n_heard} of {n_judged} recordings were heard" if n_judged else "it could not be checked"
    if type(per_hour) is not float or not 0.0 <= per_hour < 1e6:
        return heard
    return f"{heard}; false alarms to expect were {rate(per_hour)}"
