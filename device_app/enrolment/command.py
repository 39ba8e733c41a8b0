"""``earmark enrol``, ``refit``, ``sounds``, ``remove`` and ``rename``: what a profile holds, and how it gets there."""

import json
import shlex
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich.box
import rich.console
import rich.table

from device_app.capture import MicrophoneSource
from device_app.enrolment.profile import Profile, default_profile_path
from device_app.enrolment.profile_files import NewRecording
from device_app.enrolment.report_command import show_report
from device_app.enrolment.sound_changes import remove_sounds, rename_sound
from device_app.enrolment.sound_names import BACKGROUND, group_name, is_taught
from device_app.errors import AudioError, EarmarkError
from device_app.model.embedder import Embedder, load_embedder
from device_app.recordings.long_recording import cut_out
from device_app.recordings.neighbours import Neighbours
from device_app.recordings.proposals import pick, print_proposals, propose
from device_app.recordings.sound_files import expand, read_recordings, sound_folders
from device_app.recordings.take import record_takes
from device_app.recordings.take_findings import examine
from device_app.recordings.take_keys import open_keys
from device_app.recordings.take_session import TakeSession
from device_app.recordings.waiting_takes import WaitingTakes

_FEW = 5
"""With fewer recordings a sound is taught all the same, but the person is told that more would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What is enrolled into, and how."""

    profile_path: Path | None
    """None for the usual one."""
    model_path: Path | None
    """None for the one that is shipped."""
    by_hand: Mapping[str, Any]
    """Settings of the sounds, by the names of :class:`device_app.enrolment.sound_settings.SoundSettings`."""
    as_json: bool
    """Whether to print the report at the end as JSON."""


def enrol_files(name: str, origins: Sequence[Path], into: Enrolment, *, at_s: Sequence[float] = ()) -> int:
    """Teach a sound from recordings and folders of recordings. Returns the exit status.

    Args:
        name: The sound, background, or ``-sound``.
        origins: Files and folders.
        into: Into what, and how.
        at_s: Moments in the one recording that is given, seconds; none to take all recordings whole.

    Raises:
        AudioError: If one of them cannot be read or holds no sound; nothing is changed then.
    """
    group = group_name(name)
    recordings: Iterable[NewRecording]
    if at_s:
        recordings = (cut_out(_only(origins), moment) for moment in at_s)
    else:
        recordings = read_recordings(group, expand(origins))
    return _save({group: recordings}, into, load_embedder(into.model_path))


def enrol_folders(origins: Sequence[Path], into: Enrolment) -> int:
    """Teach sounds from folders that hold one folder for each. Returns the exit status.

    Raises:
        AudioError: If a recording cannot be read or holds no sound; nothing is changed then.
        ProfileError: If the name of a folder cannot be a sound's.
    """
    groups = {group: read_recordings(group, paths) for group, paths in sound_folders(origins).items()}
    return _save(groups, into, load_embedder(into.model_path))


def enrol_proposed(name: str, origins: Sequence[Path], into: Enrolment, *, interactive: bool) -> int:
    """Find the sounds in a long recording, and let the person pick. Returns the exit status.

    Args:
        name: The sound, background, or ``-sound``.
        origins: The one recording.
        into: Into what, and how.
        interactive: Whether somebody can be asked; if not, the proposals are printed as JSON lines, and nothing taught.

    Raises:
        AudioError: If it cannot be read, or nothing stands out in it.
    """
    group, path = group_name(name), _only(origins)
    embedder = load_embedder(into.model_path)
    log = rich.console.Console(stderr=True)
    with log.status(f"looking through {path} ..."):
        proposals = propose(path, embedder)
    if not interactive:
        for proposal in proposals:
            print(proposal.to_json())
        return 0
    print_proposals(proposals, rich.console.Console())
    picked = pick(name, proposals, input)
    if not picked:
        return 0
    return _save({group: (cut_out(path, moment) for moment in picked)}, into, embedder)


def enrol_microphone(
    name: str, into: Enrolment, *, source: MicrophoneSource, n_takes: int, take_s: float, afresh: bool
) -> int:
    """Teach a sound from the microphone, one take after the other. Returns the exit status.

    Takes that were finished before Ctrl-C, a crash or a lost microphone are kept, and used the next time.

    Args:
        name: The sound, background, or ``-sound``.
        into: Into what, and how.
        source: The microphone.
        n_takes: How many takes there shall be.
        take_s: Length of one at most, seconds.
        afresh: Whether takes of an earlier enrolment that did not finish are deleted instead.

    Raises:
        DeviceError: If there is no microphone, or it fails.
    """
    group = group_name(name)
    embedder = load_embedder(into.model_path)
    profile = Profile(into.profile_path or default_profile_path())
    waiting = WaitingTakes(profile.path, group)
    if afresh:
        waiting.forget()
    session = TakeSession(group, profile, embedder, waiting.read())
    if session.recordings:
        print(
            f"{len(session.recordings)} finished takes of {group} wait from earlier and are used (--afresh: are not)",
            file=sys.stderr,
        )
    n_left = max(0, n_takes - len(session.recordings))
    try:
        with open_keys(sys.stdin) as keys:
            if n_left:
                record_takes(source, session, n_takes=n_left, take_s=take_s, whole=group == BACKGROUND, keys=keys)
    except KeyboardInterrupt:
        if not session.recordings:
            raise
        print(f"\nstopped: keeping the {len(session.recordings)} finished takes", file=sys.stderr)
    except EarmarkError as err:
        if not session.recordings:
            raise
        raise type(err)(
            f"{err}. The {len(session.recordings)} finished takes are kept: the same command goes on with them"
        ) from err
    status = _save({group: session.recordings}, into, embedder, judged=True)
    for take in session.recordings:
        waiting.drop(take)
    return status


def _only(origins: Sequence[Path]) -> Path:
    if len(origins) != 1 or origins[0].is_dir():
        raise AudioError("moments can be taken out of one recording at a time: name one file with --from")
    return origins[0]


def _examined(group: str, recordings: Iterable[NewRecording]) -> Iterator[NewRecording]:
    """Hand recordings on, and say what is amiss with them."""
    for recording in recordings:
        if group != BACKGROUND:
            for finding in examine(recording.waveform, recording.sample_rate):
                if not finding.useless:  # that is an error, and raised as one
                    print(f"{recording.origin}: {finding.sentence}", file=sys.stderr)
        yield recording


def _compare(profile: Profile, known: Container[str], embedder: Embedder) -> None:
    """Say which of the recordings that are new sound like something else."""
    examples = profile.examples(embedder)
    neighbours = Neighbours(embedder.background(), examples)
    origins = {entry.id: entry.origin for entries in profile.sounds.values() for entry in entries}
    for example in examples:
        if is_taught(example.sound) and example.recording not in known:
            for finding in neighbours.judge(example):
                print(f"{origins[example.recording]}: {finding.sentence}", file=sys.stderr)


def _save(
    groups: Mapping[str, Iterable[NewRecording]], into: Enrolment, embedder: Embedder, *, judged: bool = False
) -> int:
    path = into.profile_path or default_profile_path()
    profile = Profile(path)
    log = rich.console.Console(stderr=True)
    with profile.lock(), log.status("learning ..."):
        known = profile.index.recording_ids
        if not judged:
            groups = {group: _examined(group, recordings) for group, recordings in groups.items()}
        profile.add_groups(groups, embedder, into.by_hand)
        if not judged:
            _compare(profile, known, embedder)
    for group in groups:
        n_all = len(profile.sounds[group])
        n_new = len([entry for entry in profile.sounds[group] if entry.id not in known])
        added = f"{n_new} recording{'' if n_new == 1 else 's'} added"
        print(f"{group}: {added}, {n_all} in all, in {path}", file=sys.stderr)
        if group == BACKGROUND:
            print("These are never reported; every sound is told apart from them.", file=sys.stderr)
        elif not is_taught(group):
            print(f"These are never reported; {group[1:]} is told apart from them.", file=sys.stderr)
        elif n_all < _FEW:
            print(
                f"{n_all} {'is' if n_all == 1 else 'are'} few: {_FEW} from different moments make it more reliable.",
                file=sys.stderr,
            )
    if profile.taught:
        show_report(profile, embedder, json=into.as_json)
        where = {"--profile": into.profile_path, "--model": into.model_path}
        given = [part for flag, value in where.items() if value is not None for part in (flag, str(value))]
        print(f"Now hear them: {shlex.join(['earmark', 'listen', *given])}", file=sys.stderr)
    return 0


def remove(names: Sequence[str], profile_path: Path | None, model_path: Path | None) -> int:
    """Forget sounds and their recordings. Returns the exit status.

    Raises:
        ProfileError: If one of them is not there; nothing is changed then.
    """
    profile = Profile(profile_path or default_profile_path())
    profile.require(*names)  # before the model is loaded, and a folder is made for the lock
    embedder = load_embedder(model_path)
    with profile.lock():
        remove_sounds(profile, names, embedder)
    print(f"removed {', '.join(names)}; left are {', '.join(profile.taught) or 'none'}", file=sys.stderr)
    return 0


def rename(old: str, new: str, profile_path: Path | None, model_path: Path | None) -> int:
    """Call a sound something else. Returns the exit status.

    Raises:
        ProfileError: If there is no such sound, or the new name is taken or reserved.
    """
    profile = Profile(profile_path or default_profile_path())
    profile.require(old)
    embedder = load_embedder(model_path)
    with profile.lock():
        rename_sound(profile, old, new, embedder)
    print(f"{old} is now called {new}", file=sys.stderr)
    return 0


def refit(profile_path: Path | None, model_path: Path | None) -> int:
    """Fit all sounds again from their recordings. Returns the exit status.

    Raises:
        ProfileError: If nothing has been taught.
    """
    profile = Profile(profile_path or default_profile_path())
    profile.require_taught()
    embedder = load_embedder(model_path)
    with profile.lock():
        profile.refit(embedder)
    print(f"fitted {', '.join(profile.taught)} with model {embedder.metadata.model_id}", file=sys.stderr)
    return 0


def print_sounds(profile_path: Path | None, *, as_json: bool) -> int:
    """List the taught sounds. Returns the exit status.

    Raises:
        ProfileError: If nothing has been taught.
    """
    profile = Profile(profile_path or default_profile_path())
    profile.require_taught()
    if as_json:
        for name, recordings in sorted(profile.sounds.items()):
            last = max(entry.recorded for entry in recordings)
            print(json.dumps({"sound": name, "n_recordings": len(recordings), "last_recorded": last}))
        return 0
    table = rich.table.Table("sound", "recordings", "last added", box=rich.box.SIMPLE_HEAD)
    for name, recordings in sorted(profile.sounds.items()):
        table.add_row(name, str(len(recordings)), max(entry.recorded for entry in recordings))
    rich.console.Console().print(table)
    return 0
