"""What a person taught: recordings, their embeddings and the head fitted on them, in one folder.

::

    profile.json            the sounds and their recordings; written last, so it never names what is not there
    recordings/<id>.flac    what was recorded, at its own rate, mono
    embeddings/<id>.npz     its example windows, embedded
    head.npz                the fitted head
"""

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock
import numpy as np
import platformdirs
import soundfile as sf

from device_app.arrays import FloatArray
from device_app.audio_file import read_audio
from device_app.embedder import Embedder
from device_app.enrolment.example_windows import background_windows, example_windows, find_sound
from device_app.enrolment.head import Examples, Head, fit_head
from device_app.errors import AudioError, ModelMismatchError, ProfileError
from device_app.files import npz, read_npz, write_aside

SCHEMA = 1
BACKGROUND = "background"
BACKGROUND_NAMES = frozenset({BACKGROUND, "noise", "silence", "other", "_background_noise_"})
"""Names that mean "not a sound to report" (BirdNET-Analyzer's and Speech Commands' among them)."""
_NAME = re.compile(r"[^\W_][\w .'+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of one sound."""

    id: str
    """First 16 hex digits of the SHA-256 of its 16-bit samples: the same recording is never counted twice."""
    origin: str
    """The file it came from, or the microphone."""
    recorded: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class NewRecording:
    """A recording on its way into the profile."""

    waveform: FloatArray
    """(n_samples,) float32 mono in [-1, 1]."""
    sample_rate: int
    origin: str


def default_profile_path() -> Path:
    """The profile that is used where none is named: in the user's data folder."""
    return platformdirs.user_data_path("earmark") / "profile"


def sound_name(name: str) -> str:
    """Check a sound's name and map the reserved ones to ``background``.

    Raises:
        ProfileError: If the name is empty, too long, or holds characters that do not belong in a name.
    """
    if name.lower() in BACKGROUND_NAMES:
        return BACKGROUND
    if not _NAME.fullmatch(name):
        raise ProfileError(
            f"'{name}' cannot be a sound's name: use up to 64 letters, digits, spaces, or any of . ' + - _, "
            "beginning with a letter or digit"
        )
    return name


class Profile:
    """The taught sounds in one folder. Readers need no lock: files are replaced whole."""

    def __init__(self, path: Path) -> None:
        """Open a profile; a folder without one is an empty profile.

        Raises:
            ProfileError: If ``profile.json`` is damaged or of a newer version.
        """
        self.path = path
        self.sounds: dict[str, list[Recording]] = {}
        index = path / "profile.json"
        if not index.exists():
            return
        try:
            raw = json.loads(index.read_text("utf-8"))
            if raw["schema"] > SCHEMA:
                raise ProfileError(f"{index} was written by a newer earmark (schema {raw['schema']}): upgrade earmark")
            self.sounds = {
                sound_name(name): [Recording(entry["id"], entry["origin"], entry["recorded"]) for entry in entries]
                for name, entries in raw["sounds"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise ProfileError(
                f"{index} is damaged ({err!r}): restore it from a backup, or enrol into a new folder with --profile"
            ) from err

    @property
    def taught(self) -> list[str]:
        """Names of the sounds to report, background left out."""
        return sorted(set(self.sounds) - {BACKGROUND})

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from changing this profile meanwhile.

        Raises:
            ProfileError: If another process is changing it now.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock", timeout=2.0)
            with lock:
                yield
        except filelock.Timeout as err:
            raise ProfileError(f"another earmark is changing the profile {self.path}: wait for it to finish") from err
        except OSError as err:
            raise ProfileError(
                f"cannot write the profile {self.path}: {err.strerror}; choose another with --profile"
            ) from err

    def add(self, name: str, recordings: Sequence[NewRecording], embedder: Embedder) -> int:
        """Add recordings to a sound (new or known), fit the head again and save. Call it inside :meth:`lock`.

        Returns:
            How many of the recordings were new; the same recording again is passed over.

        Raises:
            ProfileError: If one of them is already taught as another sound.
            AudioError: If one of them holds no sound. Nothing is changed then.
        """
        name = sound_name(name)
        for new in recordings if name != BACKGROUND else ():
            try:
                find_sound(new.waveform, new.sample_rate)
            except AudioError as err:
                raise AudioError(f"{new.origin}: {err}") from err
        owner = {recording.id: sound for sound, known in self.sounds.items() for recording in known}
        added: list[Recording] = []
        for new in recordings:
            pcm = np.clip(np.rint(new.waveform * 32767.0), -32768, 32767).astype(np.int16)
            recording_id = hashlib.sha256(pcm.astype("<i2").tobytes()).hexdigest()[:16]
            if owner.get(recording_id, name) != name:
                raise ProfileError(
                    f"{new.origin} is already taught as '{owner[recording_id]}': one recording, one sound"
                )
            if recording_id in owner:
                continue
            owner[recording_id] = name
            self._write_recording(recording_id, pcm, new.sample_rate)
            added.append(Recording(recording_id, new.origin, datetime.now(UTC).isoformat(timespec="seconds")))
        sounds = {**self.sounds, name: [*self.sounds.get(name, []), *added]}
        head = self._fit(sounds, embedder)
        head.save(self.path / "head.npz")
        self._save_index(sounds)
        self.sounds = sounds
        return len(added)

    def require_taught(self) -> None:
        """Raise ProfileError if there is nothing to listen for."""
        if not self.taught:
            raise ProfileError(
                f"nothing has been taught in {self.path}: teach a sound first, for example "
                "`earmark enrol doorbell --from FOLDER`"
            )

    def head(self, embedder: Embedder) -> Head:
        """The fitted head, for listening; fitted anew if a crash left it behind the recordings.

        Raises:
            ProfileError: If nothing has been taught.
            ModelMismatchError: If the sounds were enrolled with another model.
        """
        self.require_taught()
        try:
            head = Head.load(self.path / "head.npz")
        except ProfileError:
            head = None
        if head is not None and head.model_id != embedder.metadata.model_id:
            raise ModelMismatchError(
                f"{self.path} was enrolled with model {head.model_id}, but {embedder.path} is "
                f"{embedder.metadata.model_id}: their embeddings cannot be compared. "
                f"Run `earmark refit` with this model, or pass the earlier one with --model."
            )
        if head is None or head.recordings != _recording_ids(self.sounds):
            head = self.refit(embedder)
        return head

    def refit(self, embedder: Embedder) -> Head:
        """Fit the head from the recordings again, with whatever model is given, and save it.

        Raises:
            ProfileError: If a recording is missing.
        """
        head = self._fit(self.sounds, embedder)
        head.save(self.path / "head.npz")
        return head

    def _fit(self, sounds: dict[str, list[Recording]], embedder: Embedder) -> Head:
        examples = [
            Examples(name, recording.id, self._embeddings(name, recording.id, embedder))
            for name, recordings in sorted(sounds.items())
            for recording in recordings
        ]
        return fit_head(
            [entry for entry in examples if entry.sound != BACKGROUND],
            background=[entry for entry in examples if entry.sound == BACKGROUND],
            bank=embedder.background(),
            model_id=embedder.metadata.model_id,
            recordings=_recording_ids(sounds),
        )

    def _embeddings(self, name: str, recording_id: str, embedder: Embedder) -> FloatArray:
        """Example windows of a recording, embedded: (n_windows, size); cached beside the profile."""
        cache = self.path / "embeddings" / f"{recording_id}.npz"
        with contextlib.suppress(OSError, ValueError, KeyError):
            stored = read_npz(cache)
            if str(stored["model_id"]) == embedder.metadata.model_id:
                return np.asarray(stored["embeddings"], dtype=np.float32)
        rate = embedder.metadata.sample_rate
        waveform = read_audio(self._recording_path(recording_id), rate)
        clip_samples = embedder.metadata.clip_samples
        if name == BACKGROUND:
            windows = background_windows(waveform, clip_samples)
        else:
            windows = example_windows(waveform, rate, clip_samples, np.random.default_rng(int(recording_id, 16)))
        embeddings = embedder.embed(windows)
        write_aside(cache, npz(embeddings=embeddings, model_id=embedder.metadata.model_id))
        return embeddings

    def _recording_path(self, recording_id: str) -> Path:
        return self.path / "recordings" / f"{recording_id}.flac"

    def _write_recording(self, recording_id: str, pcm: np.ndarray[tuple[int], np.dtype[np.int16]], rate: int) -> None:
        buffer = io.BytesIO()
        sf.write(buffer, pcm, rate, format="FLAC", subtype="PCM_16")
        write_aside(self._recording_path(recording_id), buffer.getvalue())

    def _save_index(self, sounds: dict[str, list[Recording]]) -> None:
        raw = {
            "schema": SCHEMA,
            "sounds": {name: [asdict(entry) for entry in entries] for name, entries in sounds.items()},
        }
        text = json.dumps(raw, indent=1, ensure_ascii=False)
        write_aside(self.path / "profile.json", text.encode())


def _recording_ids(sounds: dict[str, list[Recording]]) -> tuple[str, ...]:
    return tuple(sorted(f"{name}:{entry.id}" for name, entries in sounds.items() for entry in entries))
