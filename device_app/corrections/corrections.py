"""What a person says of what was heard: "that was wrong", "that was one"; and taking it back."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from device_app.enrolment.head import Examples, Head
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording, now
from device_app.enrolment.profile_index import Correction, Index
from device_app.enrolment.sound_names import is_taught, sound_name
from device_app.errors import AudioError, ProfileError
from device_app.history.heard_event import HeardEvent
from device_app.model.embedder import Embedder

_EVENT_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a correction changed."""

    correction: Correction
    heeded: bool
    """Whether the event, or the clip, is now taken for what it was said to be."""
    n_right_before: int
    """Clips and corrected events that were taken for what they are, of all earlier ones."""
    n_right: int
    """The same now."""
    n_checked: int
    worse: tuple[str, ...]
    """What was right before and is not now, in words."""


def mark_wrong(profile: Profile, event: HeardEvent, embedder: Embedder) -> Outcome:
    """An event was not the sound. Call it inside the profile's lock.

    Raises:
        ProfileError: If the sound is not taught any more, the event was said something of already, or it was heard with
            another model.
    """
    return _correct_event(profile, "wrong", event.sound, event, embedder)


def mark_missed_event(profile: Profile, sound: str, event: HeardEvent, embedder: Embedder) -> Outcome:
    """An event was this sound, whatever it was taken for. Call it inside the profile's lock.

    Raises:
        ProfileError: As of :func:`mark_wrong`.
    """
    return _correct_event(profile, "missed", sound_name(sound), event, embedder)


def mark_missed_clip(profile: Profile, sound: str, clip: NewRecording, embedder: Embedder) -> Outcome:
    """A recording was this sound and was not heard: it is taught. Call it inside the profile's lock.

    Raises:
        ProfileError: If the sound is not taught, or the recording is already.
        AudioError: If it holds no sound.
    """
    sound = sound_name(sound)
    _require_sound(profile, sound)
    if profile.index.owner(clip.id) is not None:
        raise ProfileError(f"{clip.origin} is already taught as '{profile.index.owner(clip.id)}'")
    correction = Correction(kind="missed", sound=sound, event=None, recording=clip.id, time=now())
    profile.files.write_recording(clip, sound)
    index = copy.deepcopy(profile.index)
    index.sounds[sound].append(clip.entry())
    index.corrections.append(correction)
    try:
        return _commit(profile, index, correction, embedder)
    except BaseException as err:
        profile.forget_unnamed(index)
        if isinstance(err, AudioError):
            raise AudioError(f"{clip.origin}: {err}") from err
        raise


def undo(profile: Profile, embedder: Embedder) -> Outcome:
    """Take the last correction back. Call it inside the profile's lock.

    Raises:
        ProfileError: If there is none.
    """
    if not profile.index.active_corrections:
        raise ProfileError("there is no correction to undo")
    index = copy.deepcopy(profile.index)
    position = max(i for i, entry in enumerate(index.corrections) if entry.undone is None)
    correction = replace(index.corrections[position], undone=now())
    index.corrections[position] = correction
    if correction.recording is not None:
        entries = index.sounds[correction.sound]  # it has others: a correction goes with its sound
        index.sounds[correction.sound] = [entry for entry in entries if entry.id != correction.recording]
    outcome = _commit(profile, index, correction, embedder)
    profile.files.sweep(index)
    return outcome


def _correct_event(profile: Profile, kind: str, sound: str, event: HeardEvent, embedder: Embedder) -> Outcome:
    _require_sound(profile, sound)
    if event.model_id != embedder.metadata.model_id:
        raise ProfileError(
            f"event {event.id} was heard with model {event.model_id}, not {embedder.metadata.model_id}: "
            "pass that one with --model, or give a recording instead"
        )
    if not len(event.embeddings) or not _EVENT_ID.fullmatch(event.id):
        raise ProfileError(f"of event {event.id} nothing is kept that could be learned from: it is too old")
    if any(entry.event == event.id for entry in profile.index.active_corrections):
        raise ProfileError(f"event {event.id} was corrected already: `earmark undo` takes the last correction back")
    correction = Correction(
        kind="wrong" if kind == "wrong" else "missed", sound=sound, event=event.id, recording=None, time=now()
    )
    profile.files.write_embeddings(profile.files.event(event.id), event.embeddings, event.model_id)
    index = copy.deepcopy(profile.index)
    index.corrections.append(correction)
    return _commit(profile, index, correction, embedder)


def _require_sound(profile: Profile, sound: str) -> None:
    if sound not in profile.taught:
        raise ProfileError(f"'{sound}' is not taught in {profile.path}: taught are {', '.join(profile.taught)}")


def _commit(profile: Profile, index: Index, correction: Correction, embedder: Embedder) -> Outcome:
    """Commit an index, and check what was right before and is now."""
    old = profile.head(embedder)
    profile.commit(index, embedder)
    examples = profile.examples(embedder)
    before, after = _right(old, examples), _right(profile.head(embedder), examples)
    name = correction.recording or f"event {correction.event}"
    earlier = [key for key in after if key in before and key[1] != name]
    return Outcome(
        correction=correction,
        heeded=all(right for key, right in after.items() if key[1] == name),
        n_right_before=sum(before[key] for key in earlier),
        n_right=sum(after[key] for key in earlier),
        n_checked=len(earlier),
        worse=tuple(_in_words(index, key) for key in earlier if before[key] and not after[key]),
    )


def _right(head: Head, examples: Sequence[Examples]) -> dict[tuple[str, str], bool]:
    """Whether each clip and corrected event is taken for what it is, by group and recording.

    A sound is, if one of its windows has evidence for it, and more than for any other. What a sound must not be
    confused with is, if none has.
    """
    out = {}
    for example in examples:
        name = example.sound.removeprefix("-")
        if not is_taught(name) or name not in head.sounds:
            continue
        scores = head.score(example.embeddings)
        own = scores[:, head.sounds.index(name)]
        found = bool(((own > 0.0) & (own >= scores.max(axis=1))).any())
        out[example.sound, example.recording] = found is (name == example.sound)
    return out


def _in_words(index: Index, key: tuple[str, str]) -> str:
    group, recording = key
    origins = {entry.id: entry.origin for entries in index.sounds.values() for entry in entries}
    what = origins.get(recording, recording)
    if group.startswith("-"):
        return f"{what} is taken for {group[1:]} again"
    return f"{what} is no longer taken for {group}"
