"""From a profile to a pack, and from a pack into a profile."""

import copy
import zipfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import now, one_line
from device_app.enrolment.profile_index import Index, Recording
from device_app.enrolment.sound_names import BACKGROUND, group_name
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import ModelMismatchError, PackError, ProfileError
from device_app.files import write_aside
from device_app.model.embedder import Embedder
from device_app.packs.manifest import MOST_TEXT, NOT_STATED, Manifest
from device_app.packs.pack_file import Pack, check_pack, open_pack, recording_bytes, write_pack


@dataclass(frozen=True, slots=True)
class Imported:
    """What came out of a pack."""

    n_new: dict[str, int]
    """Recordings that were new, for each group."""
    licences: tuple[str, ...]
    """Of its recordings."""
    re_embedded: bool
    """Whether the pack was made with another model, and its audio was embedded again."""
    n_audio: int
    """Recordings that were here without audio, or with a damaged file, and now have it from the pack."""
    settings: dict[str, SoundSettings]
    """Taken over from the pack, of the sounds that had none here."""
    report: dict[str, dict[str, Any]]
    """What the pack says of its sounds, by the names that they have here now. Anybody may have written it."""


def export_pack(
    profile: Profile,
    path: Path,
    embedder: Embedder,
    *,
    names: Sequence[str],
    with_audio: bool,
    licence: str,
    report: dict[str, Any] | None = None,
) -> Manifest:
    """Write a pack.

    Args:
        profile: Where the sounds are.
        path: Of the pack.
        embedder: Of the model that the profile is fitted with.
        names: Sounds to export, with what they must not be confused with; none for all taught sounds. Background is
            exported only if it is named.
        with_audio: Whether the recordings go with it, so that it outlives the model.
        licence: On which terms it is handed on.
        report: Of the enrolment, for whoever takes the pack in; what it says of other sounds is left out.

    Raises:
        ProfileError: If a sound is not there, or nothing is taught.
        ModelMismatchError: If the profile is fitted with another model.
        PackError: If a recording has no audio, is damaged or too long, nobody could import the pack, or it would
            replace something else.
        EarmarkError: If the file cannot be written.
    """
    if licence != one_line(licence) or len(licence) > MOST_TEXT:
        raise PackError(f"a licence is one line of at most {MOST_TEXT} characters: give its name, such as CC0-1.0")
    if path.exists() and not (zipfile.is_zipfile(path) or (path.is_file() and path.stat().st_size == 0)):
        raise PackError(f"{path} is there already and is no pack: name another file, or remove it first")
    profile.require(*names)
    profile.head(embedder)  # refuses another model than the profile's
    chosen = {group_name(name) for name in names} or {name for name in profile.sounds if name != BACKGROUND}
    chosen |= {f"-{name}" for name in chosen} & set(profile.sounds)
    # Where a recording lay on this computer is nobody else's business.
    sounds = {
        name: [replace(entry, origin=one_line(Path(entry.origin).name)[-MOST_TEXT:]) for entry in profile.sounds[name]]
        for name in sorted(chosen)
    }
    embeddings = {
        example.recording: example.embeddings for example in profile.examples(embedder) if example.sound in chosen
    }
    recordings = _audio(profile, sounds) if with_audio else {}
    ids = {entry.id for entries in sounds.values() for entry in entries}
    manifest = Manifest(
        model_id=embedder.metadata.model_id,
        embedding_size=embedder.size,
        licence=licence,
        created=now(),
        with_audio=with_audio,
        sounds=sounds,
        settings={name: profile.settings[name] for name in sorted(chosen & set(profile.settings))},
        report=None if report is None else _about(report, chosen),
    )
    rows = {recording_id: embeddings[recording_id] for recording_id in embeddings if recording_id in ids}
    content = write_pack(manifest, rows, recordings)
    try:
        check_pack(content)
    except PackError as err:
        raise PackError(f"nobody could import a pack of {', '.join(sorted(chosen))}: {err}") from err
    write_aside(path, content)
    return manifest


def _about(report: dict[str, Any], chosen: Container[str]) -> dict[str, Any]:
    """What a report says of some sounds. Which others there are is nobody else's business either."""
    return {
        "sounds": [
            sound | {"taken_for": {name: n for name, n in sound["taken_for"].items() if name in chosen}}
            for sound in report["sounds"]
            if sound["sound"] in chosen
        ]
    }


def _audio(profile: Profile, sounds: Mapping[str, Sequence[Recording]]) -> dict[str, bytes]:
    out = {}
    for name, entries in sounds.items():
        for entry in entries:
            path = profile.files.recording(entry.id)
            if not path.exists():
                raise PackError(f"'{name}' came without audio itself: export it without --with-audio")
            out[entry.id] = recording_bytes(path, name, entry)
    return out


def import_pack(profile: Profile, path: Path, embedder: Embedder, renamed: Mapping[str, str]) -> Imported:
    """Merge a pack into a profile, and fit. A recording that is there already is passed over.

    Args:
        profile: Where the sounds go; it is locked meanwhile.
        path: Of the pack.
        embedder: Of the model to fit with.
        renamed: What to call a sound of the pack here.

    Raises:
        PackError: If the pack is damaged or hostile; nothing is changed then, as with the others.
        ModelMismatchError: If it was made with another model and holds no audio.
        ProfileError: If one of its recordings is taught as another sound here.
    """
    with open_pack(path) as pack:
        sounds = _renamed(pack.manifest, renamed)
        same_model = pack.manifest.model_id == embedder.metadata.model_id
        if same_model and pack.manifest.embedding_size != embedder.size:
            raise PackError(f"its embeddings are {pack.manifest.embedding_size} wide, the model's are {embedder.size}")
        if not same_model and not pack.manifest.with_audio:
            raise ModelMismatchError(
                f"{path} was made with model {pack.manifest.model_id}, but {embedder.path} is "
                f"{embedder.metadata.model_id}, and it holds no audio to embed again: ask for a pack that was exported "
                "--with-audio, or pass the earlier model with --model"
            )
        with profile.lock():
            index = copy.deepcopy(profile.index)
            before = index.recording_ids
            n_audio = 0
            try:
                for old, entries in pack.manifest.sounds.items():
                    name = _new_name(old, renamed)
                    for entry in entries:
                        _refuse_other_sound(index, old, name, entry)
                        if index.owner(entry.id) is None:
                            _take_over(profile, index, pack, old, name, entry, with_embeddings=same_model)
                        elif pack.manifest.with_audio:
                            n_audio += profile.files.mend_recording(pack.recording(entry), name)
                settings = {_new_name(name, renamed): entry for name, entry in pack.manifest.settings.items()}
                settings = {name: entry for name, entry in settings.items() if name not in index.settings}
                index.settings |= settings
                profile.commit(index, embedder)
            except BaseException:  # Ctrl-C as well
                profile.forget_unnamed(index)
                raise
    entries = [entry for entries in sounds.values() for entry in entries]
    n_new = {name: len([entry for entry in entries if entry.id not in before]) for name, entries in sounds.items()}
    return Imported(
        n_new,
        tuple(sorted({entry.licence or pack.manifest.licence for entry in entries})),
        re_embedded=not same_model,
        n_audio=n_audio,
        settings=settings,
        report=_reported(pack.manifest, renamed),
    )


def _reported(manifest: Manifest, renamed: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    sounds = (manifest.report or {}).get("sounds")
    known = [entry for entry in sounds if isinstance(entry, dict)] if isinstance(sounds, list) else []
    return {
        _new_name(name, renamed): entry for name in manifest.sounds for entry in known if entry.get("sound") == name
    }


def _refuse_other_sound(index: Index, old: str, name: str, entry: Recording) -> None:
    """Raise ProfileError if a recording of the pack's ``old`` is taught as something else than ``name``."""
    owner = index.owner(entry.id)
    if owner not in (None, name):
        raise ProfileError(
            f"a recording of '{old}' in the pack is taught as '{owner}' here: import it with --rename {old}={owner}"
        )


def _take_over(
    profile: Profile, index: Index, pack: Pack, old: str, name: str, entry: Recording, *, with_embeddings: bool
) -> None:
    """Write one recording of the pack's ``old``."""
    licence = entry.licence or pack.manifest.licence
    index.sounds.setdefault(name, []).append(replace(entry, licence=None if licence in ("", NOT_STATED) else licence))
    if pack.manifest.with_audio:
        profile.files.write_recording(pack.recording(entry), name)
    if with_embeddings:
        path, rows = profile.files.embeddings(entry.id), pack.embeddings(entry.id)
        varied = pack.manifest.settings.get(old, SoundSettings()).varies_pitch
        profile.files.write_embeddings(path, rows, pack.manifest.model_id, varied=varied)


def _renamed(manifest: Manifest, renamed: Mapping[str, str]) -> dict[str, list[Recording]]:
    for old in renamed:
        if old not in manifest.sounds:
            known = ", ".join(sorted(manifest.sounds))
            raise PackError(f"there is no '{old}' in it to rename: it holds {known}")
    out: dict[str, list[Recording]] = {}
    for name, entries in manifest.sounds.items():
        out.setdefault(_new_name(name, renamed), []).extend(entries)
    return out


def _new_name(name: str, renamed: Mapping[str, str]) -> str:
    if name in renamed:
        return group_name(renamed[name])
    if name.startswith("-") and name[1:] in renamed:
        return group_name(f"-{renamed[name[1:]]}")
    return name
