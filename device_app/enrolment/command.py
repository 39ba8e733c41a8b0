"""``earmark enrol``: recordings from files or the microphone into the profile."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import rich.box
import rich.console
import rich.table

from device_app.audio_file import find_audio, read_native
from device_app.capture import MicrophoneSource
from device_app.embedder import Embedder, load_embedder
from device_app.enrolment.example_windows import find_sound
from device_app.enrolment.profile import BACKGROUND, NewRecording, Profile, default_profile_path, sound_name
from device_app.errors import AudioError
from device_app.take import Take, record_takes

_FEW = 5
"""With fewer recordings a sound is taught all the same, but the person is told that more would help."""


def enrol_files(name: str, origins: Sequence[Path], profile_path: Path | None, model_path: Path | None) -> int:
    """Teach a sound from recordings and folders of recordings. Returns the exit status.

    Raises:
        AudioError: If one of them cannot be read or holds no sound; nothing is changed then.
    """
    sound_name(name)
    paths = [path for origin in origins for path in (find_audio(origin) if origin.is_dir() else [origin])]
    recordings = [NewRecording(*read_native(path), str(path)) for path in paths]
    return _save(name, recordings, profile_path, load_embedder(model_path))


def enrol_microphone(
    name: str,
    profile_path: Path | None,
    model_path: Path | None,
    *,
    source: MicrophoneSource,
    n_takes: int,
    take_s: float,
) -> int:
    """Teach a sound from the microphone, one take after the other. Returns the exit status.

    Takes that were finished before Ctrl-C are kept.

    Raises:
        DeviceError: If there is no microphone, or it fails.
    """
    sound_name(name)
    embedder = load_embedder(model_path)
    takes: list[Take] = []
    try:
        record_takes(source, takes, n_takes=n_takes, take_s=take_s, judge=_judge)
    except KeyboardInterrupt:
        if not takes:
            raise
        print(f"\nstopped: keeping the {len(takes)} finished takes", file=sys.stderr)
    recordings = [NewRecording(take.waveform, take.sample_rate, take.device) for take in takes]
    return _save(name, recordings, profile_path, embedder)


def _judge(take: Take) -> str | None:
    """Why a take must be done again, or None."""
    try:
        find_sound(take.waveform, take.sample_rate)
    except AudioError as err:
        return str(err)
    return None


def _save(name: str, recordings: Sequence[NewRecording], profile_path: Path | None, embedder: Embedder) -> int:
    path = profile_path or default_profile_path()
    log = rich.console.Console(stderr=True)
    with Profile(path).lock(), log.status("learning ..."):
        profile = Profile(path)  # read again: another process may have changed it before the lock was ours
        n_new = profile.add(name, recordings, embedder)
    name = sound_name(name)
    n_all = len(profile.sounds[name])
    known = f" ({len(recordings) - n_new} were known already)" if n_new < len(recordings) else ""
    print(f"{name}: {n_new} recordings added{known}, {n_all} in all, in {path}", file=sys.stderr)
    if name == BACKGROUND:
        print("These are never reported; every sound is told apart from them.", file=sys.stderr)
    elif n_all < _FEW:
        print(f"{n_all} are few: {_FEW} from different moments make it more reliable.", file=sys.stderr)
    if profile.taught:
        print(f"Now hear them: earmark listen{'' if profile_path is None else f' --profile {path}'}", file=sys.stderr)
    return 0


def refit(profile_path: Path | None, model_path: Path | None) -> int:
    """Fit all sounds again from their recordings. Returns the exit status.

    Raises:
        ProfileError: If nothing has been taught.
    """
    path = profile_path or default_profile_path()
    embedder = load_embedder(model_path)
    with Profile(path).lock():
        profile = Profile(path)
        profile.require_taught()
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
