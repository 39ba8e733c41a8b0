"""``earmark pack export`` and ``import``."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from device_app.enrolment.profile import Profile, default_profile_path
from device_app.enrolment.report_command import report_of
from device_app.model.embedder import load_embedder
from device_app.packs.exchange import export_pack, import_pack


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
    if imported.re_embedded:
        print("the pack was made with another model: its recordings were embedded again", file=sys.stderr)
    print(f"licence of the pack: {imported.licence}", file=sys.stderr)
    return 0
