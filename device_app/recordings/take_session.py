"""Takes of one sound: each is judged at once, and written down before the next one begins."""

from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np

from device_app.audio_file import resample
from device_app.enrolment.example_windows import example_windows
from device_app.enrolment.head import Examples
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording
from device_app.enrolment.sound_names import BACKGROUND, is_taught
from device_app.model.embedder import Embedder
from device_app.recordings.neighbours import Neighbours
from device_app.recordings.take import Take, Takes
from device_app.recordings.take_findings import Finding, examine
from device_app.recordings.waiting_takes import WaitingTakes


class TakeSession(Takes):
    """Takes on their way into a profile."""

    def __init__(self, sound: str, profile: Profile, embedder: Embedder, waiting: Iterable[NewRecording]) -> None:
        """Begin with what is known.

        Args:
            sound: What is being taught.
            profile: Where it will be kept.
            embedder: Of the model at hand.
            waiting: Takes of an earlier session that are used as well.
        """
        super().__init__()
        self._sound, self._profile, self._embedder = sound, profile, embedder
        self._files = WaitingTakes(profile.path, sound)
        self._neighbours = Neighbours(embedder.background(), profile.examples(embedder))
        self._judged: Examples | None = None
        self.recordings: list[NewRecording] = []
        for recording in waiting:
            self.recordings.append(recording)
            self._neighbours.add(self._embed(recording))

    def judge(self, take: Take) -> list[Finding]:
        """What is amiss with a take: its signal, and how it sounds beside the others."""
        if self._sound == BACKGROUND:
            return []
        findings = examine(take.waveform, take.sample_rate, take.background)
        if not any(finding.useless for finding in findings):
            self._judged = self._embed(_recording(take))
            if is_taught(self._sound):  # what a sound must not be confused with is like it on purpose
                findings += self._neighbours.judge(self._judged)
        return findings

    def keep(self, take: Take) -> None:
        """Write a take down: from here on it survives a crash.

        Raises:
            EarmarkError: If it cannot be written.
        """
        recording = _recording(take)
        with self._profile.lock():
            self._files.keep(recording)
        self.recordings.append(recording)
        if self._judged is not None:
            self._neighbours.add(self._judged)

    def drop_last(self) -> None:
        """Forget the last take."""
        recording = self.recordings.pop()
        self._files.drop(recording)
        self._neighbours.remove(self._sound, recording.id)

    def _embed(self, recording: NewRecording) -> Examples:
        metadata = self._embedder.metadata
        waveform = resample(recording.waveform, recording.sample_rate, metadata.sample_rate)
        windows = example_windows(waveform, metadata.sample_rate, metadata.clip_samples, np.random.default_rng(0))
        return Examples(self._sound, recording.id, self._embedder.embed(windows))


def _recording(take: Take) -> NewRecording:
    recorded = datetime.fromtimestamp(take.time, UTC).isoformat(timespec="milliseconds")
    return NewRecording(take.waveform, take.sample_rate, take.device, recorded)
