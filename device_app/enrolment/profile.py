"""What a person taught: recordings, their embeddings and the head fitted on them, in one folder.

::

    profile.json            the sounds and their recordings; written last, so it never names what is not there
    recordings/<id>.flac    what was recorded, at its own rate, mono, with its time and device
    embeddings/<id>.npz     its example windows, embedded
    events/<id>.npz         embeddings of events that were corrected
    takes/<sound>/<id>.flac finished takes of an enrolment that is not
    room/embeddings.npz     a sample of what the room sounds like
    head.npz                the fitted head
"""

import contextlib
import copy
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import filelock
import platformdirs

from device_app.enrolment.cached_examples import CachedExamples
from device_app.enrolment.example_windows import find_sound
from device_app.enrolment.head import Examples, Fit, Head, fit_head
from device_app.enrolment.profile_files import NewRecording, ProfileFiles
from device_app.enrolment.profile_index import Index, Recording
from device_app.enrolment.sound_names import BACKGROUND, group_name, is_taught, refuse_twins
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import AudioError, EarmarkError, ModelMismatchError, ProfileError
from device_app.model.embedder import Embedder

_log = logging.getLogger(__name__)

_Read = TypeVar("_Read")

_LOCK_S = 30.0
"""How long to wait for another process that is changing the profile: fitting takes seconds on a small machine."""

_FITTED = ("same", "pitch", "false_alarms_per_day")
"""Settings that a fit depends on."""


def default_profile_path() -> Path:
    """The profile that is used where none is named: in the user's data folder."""
    return platformdirs.user_data_path("earmark") / "profile"


class Profile:
    """The taught sounds in one folder. Readers need no lock: files are replaced whole."""

    def __init__(self, path: Path) -> None:
        """Open a profile; a folder without one is an empty profile.

        Raises:
            ProfileError: If ``profile.json`` is damaged or of a newer version.
        """
        self.path = path
        self.files = ProfileFiles(path)
        self._lock = filelock.FileLock(path / ".lock", timeout=_LOCK_S)
        self._cached = CachedExamples(path, self.files)
        self.index = Index.read(path / "profile.json")

    @staticmethod
    def version_of(path: Path) -> tuple[int, int]:
        """Another one after each change to a profile that any process made; the index is written last."""
        try:
            index = (path / "profile.json").stat()
        except (OSError, ValueError):  # ValueError: no path could be so
            return 0, 0
        return index.st_ino, index.st_mtime_ns

    @property
    def sounds(self) -> dict[str, list[Recording]]:
        """Recordings of each group: a sound, ``background``, or ``-sound``."""
        return self.index.sounds

    @property
    def settings(self) -> dict[str, SoundSettings]:
        """Of the sounds for which something was set by hand."""
        return self.index.settings

    @property
    def taught(self) -> list[str]:
        """Names of the sounds to report: neither background nor what is only there to tell a sound apart from."""
        return sorted(name for name in self.sounds if is_taught(name))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from changing this profile meanwhile; it is read again first.

        Inside another one it does nothing.

        Raises:
            ProfileError: If another process is changing it and goes on doing so, or it cannot be written.
        """
        if self._lock.is_locked:
            yield
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._lock:
                self.files.remove_asides()
                self.index = Index.read(self.path / "profile.json")
                yield
        except filelock.Timeout as err:
            raise ProfileError(
                f"another earmark is changing the profile {self.path}: wait for it to finish (if none is running, "
                f"delete {self.path / '.lock'})"
            ) from err
        except OSError as err:
            raise ProfileError(
                f"cannot write the profile {self.path}: {err.strerror}; choose another with --profile"
            ) from err

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keep other processes from changing this profile while several of its files are read.

        Raises:
            ProfileError: If another process is changing it and goes on doing so.
        """
        if os.access(self.path, os.W_OK):
            with self.lock():
                yield
        else:  # such as one on a read-only file system, where nobody changes it
            yield

    def add(self, name: str, recordings: Iterable[NewRecording], embedder: Embedder) -> None:
        """Add recordings to one group, see :meth:`add_groups`."""
        self.add_groups({name: recordings}, embedder)

    def add_groups(
        self,
        groups: Mapping[str, Iterable[NewRecording]],
        embedder: Embedder,
        by_hand: Mapping[str, Any] | None = None,
    ) -> None:
        """Add recordings to groups (new or known), fit the head again and save. Call it inside :meth:`lock`.

        A recording that is there already is passed over; if its file is missing or damaged, it is put there.

        Args:
            groups: Recordings for each sound, background, or ``-sound``.
            embedder: Of the model to fit with.
            by_hand: Settings of the sounds among them, by the names of :class:`SoundSettings`.

        Raises:
            ProfileError: If one of them is already taught as another sound.
            AudioError: If one of them holds no sound. The sounds are as they were then.
        """
        index = copy.deepcopy(self.index)
        try:
            for name, news in groups.items():
                for new in news:
                    self._add_recording(index, group_name(name), new)
                if by_hand and is_taught(name):
                    index.settings[name] = replace(index.settings.get(name, SoundSettings()), **by_hand)
            self.commit(index, embedder)
        except BaseException:  # Ctrl-C as well
            self.forget_unnamed(index)
            raise

    def forget_unnamed(self, index: Index) -> None:
        """Delete recordings of an index that did not come to be the profile's own."""
        self.files.forget(index.recording_ids - Index.read(self.path / "profile.json").recording_ids)

    def _add_recording(self, index: Index, name: str, new: NewRecording) -> None:
        """Write a recording and name it in an index."""
        owner = index.owner(new.id)
        if owner not in (None, name):
            raise ProfileError(f"{new.origin} is already taught as '{owner}': one recording, one sound")
        if owner is not None:
            self.files.mend_recording(new, name)
            return
        if name != BACKGROUND:
            try:
                find_sound(new.waveform, new.sample_rate)
            except AudioError as err:
                raise AudioError(f"{new.origin}: {err}") from err
        self.files.write_recording(new, name)
        index.sounds.setdefault(name, []).append(new.entry())

    def commit(self, index: Index, embedder: Embedder) -> None:
        """Fit on an index, whose files are all there, and make it the profile's own. Call it inside :meth:`lock`.

        A crash leaves the old index or the new one.

        Raises:
            ProfileError: If there is something that a sound must not be confused with, but not the sound, or two names
                differ in case alone.
        """
        refuse_twins(index.sounds, self.sounds)
        for name in index.sounds:
            if name.startswith("-") and name[1:] not in index.sounds:
                raise ProfileError(f"'{name}' is what '{name[1:]}' must not be confused with: teach that one first")
        if any(is_taught(name) for name in index.sounds):
            self._fit(index, embedder).head.save(self.path / "head.npz")
        else:
            (self.path / "head.npz").unlink(missing_ok=True)
        index.write(self.path / "profile.json")
        self.index = index

    def require(self, *names: str) -> None:
        """Raise ProfileError if there is no such group of recordings."""
        for name in names:
            if group_name(name) not in self.sounds:
                known = ", ".join(sorted(self.sounds)) or "nothing yet"
                raise ProfileError(f"there is no '{name}' in {self.path}: it holds {known}")

    def change_settings(self, settings: Mapping[str, SoundSettings]) -> None:
        """Replace the settings of some sounds and save. Call it inside :meth:`lock`."""
        index = copy.deepcopy(self.index)
        index.settings.update(settings)
        index.write(self.path / "profile.json")
        self.index = index

    def require_taught(self) -> None:
        """Raise ProfileError if there is nothing to listen for."""
        if not self.taught:
            raise ProfileError(
                f"nothing has been taught in {self.path}: teach a sound first, for example "
                "`earmark enrol doorbell --from FOLDER`"
            )

    def head(self, embedder: Embedder) -> Head:
        """The fitted head, for listening; fitted anew if a crash left it behind the recordings.

        Another process may be about to write the index that goes with it: that one is waited for. If what is fitted
        cannot be saved, it is used all the same.

        Raises:
            ProfileError: If nothing has been taught.
            ModelMismatchError: If the sounds were enrolled with another model.
        """
        self.require_taught()
        head = self._stored_head(embedder)
        if head is not None:
            return head
        with self.reading():
            self.require_taught()
            head = self._stored_head(embedder)
            if head is None:
                head = self.fit(embedder).head
                try:
                    head.save(self.path / "head.npz")
                except EarmarkError as err:
                    _log.warning("%s; until then it is fitted anew each time", err)
        return head

    def _stored_head(self, embedder: Embedder) -> Head | None:
        """The head that was saved, if it belongs to the index."""
        try:
            head = Head.load(self.path / "head.npz")
        except ProfileError:
            return None
        if head.model_id != embedder.metadata.model_id:
            raise ModelMismatchError(
                f"{self.path} was enrolled with model {head.model_id}, but {embedder.path} is "
                f"{embedder.metadata.model_id}: their embeddings cannot be compared. "
                f"Run `earmark refit` with this model, or pass the earlier one with --model."
            )
        return head if head.recordings == _fitted_on(self.index) else None

    def refit(self, embedder: Embedder) -> Head:
        """Fit the head from the recordings again, with whatever model is given, and save it.

        Raises:
            ProfileError: If a recording is missing.
        """
        head = self.fit(embedder).head
        head.save(self.path / "head.npz")
        return head

    def fit(self, embedder: Embedder) -> Fit:
        """Fit the sounds; nothing is saved but the embeddings of recordings that were not embedded yet."""
        return self._reading_again(lambda: self._fit(self.index, embedder))

    def _fit(self, index: Index, embedder: Embedder) -> Fit:
        examples = self._cached.read(index, embedder)
        return fit_head(
            [entry for entry in examples if is_taught(entry.sound)],
            background=[entry for entry in examples if entry.sound == BACKGROUND],
            confusable=[entry for entry in examples if entry.sound.startswith("-")],
            bank=embedder.background(),
            head_sizes=embedder.head_sizes,
            settings=index.settings,
            model_id=embedder.metadata.model_id,
            recordings=_fitted_on(index),
        )

    def examples(self, embedder: Embedder) -> list[Examples]:
        """The embeddings of every recording, from the cache where they are in it."""
        return self._reading_again(lambda: self._cached.read(self.index, embedder))

    def _reading_again(self, read: Callable[[], _Read]) -> _Read:
        """Read files that another process may just be removing, with the index that names them."""
        try:
            return read()
        except (ProfileError, AudioError):
            with self.reading():
                return read()


def _fitted_on(index: Index) -> tuple[str, ...]:
    """What a head is fitted on: ``sound:id`` of every recording and every corrected event, and settings by hand."""
    recordings = [f"{name}:{entry.id}" for name, entries in index.sounds.items() for entry in entries]
    events = [f"{entry.kind} {entry.sound}:{entry.event}" for entry in index.active_corrections if entry.event]
    settings = [
        f"{name}: {key}={value}"
        for name, entry in index.settings.items()
        for key, value in asdict(entry).items()
        if name in index.sounds and key in _FITTED and value is not None
    ]
    return tuple(sorted(recordings + events + settings))
