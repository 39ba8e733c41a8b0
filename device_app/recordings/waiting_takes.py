"""Takes that were finished while their enrolment was not: neither a crash nor a lost microphone costs them."""

import shutil
from pathlib import Path

from device_app.enrolment.profile_files import NewRecording, flac, read_flac
from device_app.files import write_aside


class WaitingTakes:
    """The finished takes of one sound that are not in the profile yet."""

    def __init__(self, profile: Path, sound: str) -> None:
        self._sound = sound
        self._folder = profile / "takes" / sound

    def keep(self, take: NewRecording) -> None:
        """Write a take down, as soon as it is done.

        Raises:
            EarmarkError: If it cannot be written.
        """
        write_aside(self._folder / f"{take.id}.flac", flac(take, self._sound))

    def drop(self, take: NewRecording) -> None:
        """Delete one: it is to be taken again."""
        (self._folder / f"{take.id}.flac").unlink(missing_ok=True)

    def read(self) -> list[NewRecording]:
        """All that wait, oldest first.

        Raises:
            AudioError: If one is damaged.
        """
        takes = [read_flac(path) for path in self._folder.glob("[!.]*.flac")]
        return sorted(takes, key=lambda take: take.recorded or "")

    def forget(self) -> None:
        """Delete all: they are in the profile, or not wanted."""
        shutil.rmtree(self._folder, ignore_errors=True)
