"""The embedded example windows of a profile: from its cache, or from its recordings."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.enrolment.example_windows import background_windows, example_windows
from device_app.enrolment.head import Examples
from device_app.enrolment.profile_files import ProfileFiles
from device_app.enrolment.profile_index import Index
from device_app.enrolment.sound_names import BACKGROUND
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import AudioError, EarmarkError, ProfileError
from device_app.model.embedder import Embedder
from device_app.room.room import read_room

_log = logging.getLogger(__name__)

_ROOM_ROWS = 2000
"""Of the room's embeddings that a fit uses: as many as the model's bank has; all of them take four times as long."""


class CachedExamples:
    """Examples of one profile.

    Args:
        folder: Of the profile.
        files: Its files.
    """

    def __init__(self, folder: Path, files: ProfileFiles) -> None:
        self._folder, self._files = folder, files
        self._caches = True  # until that fails

    def read(self, index: Index, embedder: Embedder) -> list[Examples]:
        """Of all recordings that an index names, of the corrected events and of the room.

        Raises:
            ProfileError: If a recording is missing.
            AudioError: If one is damaged, or holds no sound.
        """
        background = functools.cache(lambda: self._background(index, embedder.metadata.sample_rate))
        recordings = [
            Examples(name, recording.id, self._embeddings(index, name, recording.id, embedder, background))
            for name, recordings in sorted(index.sounds.items())
            for recording in recordings
        ]
        return recordings + self._corrected_events(index, embedder) + self._room(embedder)

    def _corrected_events(self, index: Index, embedder: Embedder) -> list[Examples]:
        """Events that were the sound, and as ``-sound`` those that were not."""
        out = []
        for correction in index.active_corrections:
            if correction.event is None:
                continue
            embeddings = self._files.read_embeddings(self._files.event(correction.event), embedder.metadata.model_id)
            if embeddings is None:
                _log.warning(
                    "what was said of the event %s is not used: it was heard with another model, or is damaged",
                    correction.event,
                )
                continue
            group = correction.sound if correction.kind == "missed" else f"-{correction.sound}"
            out.append(Examples(group, f"event {correction.event}", embeddings))
        return out

    def _room(self, embedder: Embedder) -> list[Examples]:
        room = read_room(self._folder)
        if room is None or room.model_id != embedder.metadata.model_id:
            return []
        return [Examples(BACKGROUND, "room", room.sample(_ROOM_ROWS))]

    def _background(self, index: Index, rate: int) -> list[FloatArray]:
        """Waveforms of the recordings of the background that are there."""
        out = []
        for path in (self._files.recording(entry.id) for entry in index.sounds.get(BACKGROUND, ())):
            if path.exists():
                try:
                    out.append(read_audio(path, rate))
                except AudioError as err:
                    _log.warning("the noise of this room is not added to other recordings: %s", err)
        return out

    def _embeddings(
        self, index: Index, name: str, recording_id: str, embedder: Embedder, background: Callable[[], list[FloatArray]]
    ) -> FloatArray:
        """Example windows of a recording, embedded: (n_windows, size); cached beside the profile."""
        cache, model_id = self._files.embeddings(recording_id), embedder.metadata.model_id
        rate, path = embedder.metadata.sample_rate, self._files.recording(recording_id)
        varied = index.settings.get(name, SoundSettings()).varies_pitch
        stored = self._files.read_embeddings(cache, model_id, varied=varied if path.exists() else None)
        if stored is not None:
            return stored
        if not path.exists():
            raise ProfileError(
                f"a recording of '{name}' came in a pack without audio, or was deleted: it cannot be used with model "
                f"{model_id}; enrol that recording again, import a pack of '{name}' with audio, or remove '{name}'"
            )
        clip_samples = embedder.metadata.clip_samples
        try:
            waveform = read_audio(path, rate)
            if name == BACKGROUND:
                windows = background_windows(waveform, clip_samples)
            else:
                windows = example_windows(
                    waveform,
                    rate,
                    clip_samples,
                    np.random.default_rng(int(recording_id, 16)),
                    room=background(),
                    vary_pitch=varied,
                )
        except AudioError as err:
            raise AudioError(
                f"a recording of '{name}' cannot be used: {err} ({path.name}; enrol that recording again, or remove "
                f"'{name}')"
            ) from err
        embeddings = embedder.embed(windows)
        if self._caches:
            try:
                self._files.write_embeddings(cache, embeddings, model_id, varied=varied)
            except EarmarkError as err:
                self._caches = False
                _log.warning("%s; until then recordings are embedded anew each time", err)
        return embeddings
