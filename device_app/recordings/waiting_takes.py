"""Takes that were finished while their enrolment was not: neither a crash nor a lost microphone costs them."""

import contextlib
import logging
import shutil
from pathlib import Path

from device_app.enrolment.profile_files import NewRecording, flac, read_flac
from device_app.errors import AudioError
from device_app.files import write_aside

_log = logging.getLogger(__name__)


class WaitingTakes:
    """The finished takes of one sound that are not in the profile yet."""

    def __init__(self, profile: Path, sound: str) -> None:
        self._sound = sound
        self._takes = profile / "takes"
        self._folder = self._takes / sound

    def keep(self, take: NewRecording) -> None:
        """Write a take down, as soon as it is done.

        Raises:
            EarmarkError: If it cannot be written.
        """
        write_aside(self._folder / f"{take.id}.flac", flac(take, self._sound))

    def drop(self, take: NewRecording) -> None:
        """Delete one: it is in the profile, or to be taken again. Others may be another process's."""
        (self._folder / f"{take.id}.flac").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def read(self) -> list[NewRecording]:
        """All that wait, oldest first; one that is damaged is left where it is, and that is said."""
        takes = []
        for path in self._folder.glob("[!.]*.flac"):
            try:
                takes.append(read_flac(path))
            except AudioError as err:
                _log.warning("a take of %s that waits from earlier is left out: %s", self._sound, err)
        return sorted(takes, key=lambda take: take.recorded or "")

    def rename(self, sound: str) -> None:
        """Make them takes of a sound that is called so."""
        for path in self._folder.glob("[!.]*.flac"):
            (self._takes / sound).mkdir(exist_ok=True)
            path.replace(self._takes / sound / path.name)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def forget(self) -> None:
        """Delete all: they are not wanted."""
        shutil.rmtree(self._folder, ignore_errors=True)
