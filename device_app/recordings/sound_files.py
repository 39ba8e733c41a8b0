"""Recordings from files: of one sound, or of many in folders that are named for them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from device_app.audio_file import find_audio, read_native
from device_app.enrolment.example_windows import MAX_SOUND_S
from device_app.enrolment.profile_files import NewRecording
from device_app.enrolment.sound_names import BACKGROUND, group_name
from device_app.errors import AudioError


def expand(origins: Iterable[Path]) -> list[Path]:
    """Files, and those in folders.

    Raises:
        AudioError: If a folder holds no audio.
    """
    return [path for origin in origins for path in (find_audio(origin) if origin.is_dir() else [origin])]


def read_recordings(group: str, paths: Iterable[Path]) -> Iterator[NewRecording]:
    """Read files one after another.

    Raises:
        AudioError: If one cannot be read, or is too long to be an example of a sound.
    """
    for path in paths:
        waveform, sample_rate = read_native(path)
        length_s = len(waveform) / sample_rate
        if group != BACKGROUND and length_s > MAX_SOUND_S:
            raise AudioError(
                f"{path} is {length_s:.0f} s long, more than {MAX_SOUND_S:.0f} s: name the moments of the sound with "
                "--at, or find them with `earmark enrol --propose`"
            )
        yield NewRecording(waveform, sample_rate, str(path))


def sound_folders(origins: Sequence[Path]) -> dict[str, list[Path]]:
    """Files of each group, from folders that hold one folder for each sound.

    A folder's name is the sound's; background, noise, silence, other and _background_noise_ are background, and
    ``-name`` is what ``name`` must not be confused with.

    Raises:
        AudioError: If there are no such folders, or one holds no audio.
        ProfileError: If the name of one cannot be a sound's.
    """
    groups: dict[str, list[Path]] = {}
    for origin in origins:
        if not origin.exists():
            raise AudioError(f"there is no folder {origin}: check its name")
        if not origin.is_dir():
            raise AudioError(f"{origin} is no folder: say what the sound is, `earmark enrol NAME --from {origin}`")
        folders = [path for path in sorted(origin.glob("*/")) if not path.name.startswith(".")]
        if not folders:
            raise AudioError(
                f"{origin} holds no folders of recordings: say what the sound is, `earmark enrol NAME ...`"
            )
        for folder in folders:
            groups.setdefault(group_name(folder.name), []).extend(find_audio(folder))
    return groups
