"""Removing and renaming taught sounds; the recordings of the others are not touched."""

import copy
from collections.abc import Sequence
from dataclasses import replace

from device_app.enrolment.profile import Profile
from device_app.enrolment.sound_names import BACKGROUND, group_name, is_taught, sound_name
from device_app.errors import ProfileError
from device_app.model.embedder import Embedder
from device_app.recordings.waiting_takes import WaitingTakes


def remove_sounds(profile: Profile, names: Sequence[str], embedder: Embedder) -> None:
    """Forget sounds, with their recordings and what they must not be confused with. Call it inside the profile's lock.

    Raises:
        ProfileError: If one of them is not there; nothing is changed then.
    """
    profile.require(*names)
    groups = [group_name(name) for name in names]
    index = copy.deepcopy(profile.index)
    for group in groups:
        index.sounds.pop(group, None)
        index.sounds.pop(f"-{group}", None)
        index.settings.pop(group, None)
    index.corrections = [entry for entry in index.corrections if entry.sound not in groups]
    profile.commit(index, embedder)
    profile.files.sweep(index)
    for group in groups:
        WaitingTakes(profile.path, group).forget()
        WaitingTakes(profile.path, f"-{group}").forget()


def rename_sound(profile: Profile, old: str, new: str, embedder: Embedder) -> None:
    """Call a sound something else. Call it inside the profile's lock.

    Raises:
        ProfileError: If there is no such sound, or the new name is taken or reserved.
    """
    profile.require(old)
    new = sound_name(new)
    if not (is_taught(old) and is_taught(new)):
        raise ProfileError(f"'{BACKGROUND}' is not a sound's name: it can neither be given nor changed")
    if {new, f"-{new}"} & set(profile.sounds):
        raise ProfileError(f"'{new}' is already taught: choose another name, or remove that one first")
    index = copy.deepcopy(profile.index)
    names = {old: new, f"-{old}": f"-{new}"}
    index.sounds = {names.get(name, name): entries for name, entries in index.sounds.items()}
    index.settings = {names.get(name, name): settings for name, settings in index.settings.items()}
    index.corrections = [replace(entry, sound=names.get(entry.sound, entry.sound)) for entry in index.corrections]
    profile.commit(index, embedder)
    for before, now in names.items():
        WaitingTakes(profile.path, before).rename(now)
