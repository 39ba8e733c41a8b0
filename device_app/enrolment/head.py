"""The head: which sound an embedding belongs to, if any. Fitted once, applied with one product of matrices."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.enrolment.discriminant import Background, Discriminants, Family, Taught
from device_app.enrolment.example_windows import N_VARIANTS
from device_app.enrolment.head_weights import as_high, learn_weights, set_by_hand
from device_app.enrolment.sound_settings import SoundSettings
from device_app.enrolment.threshold import DEFAULT_PER_DAY, Threshold, choose_threshold
from device_app.errors import ProfileError
from device_app.files import npz, read_npz, write_aside

EVIDENCE = 0.5
"""Evidence for each spread of the bank's scores above the threshold. Small: the detector rather adds up several
windows than trusts one. See `make bench-stream`."""
_BEHIND = 1e-3
"""How far the other sounds stay behind at least."""
_ARRAYS = ("weights", "bias", "directions", "offsets")


@dataclass(frozen=True, slots=True)
class Examples:
    """The embedded windows of one recording."""

    sound: str
    recording: str
    embeddings: FloatArray
    """(n_windows, size) float32, the model's heads side by side: all windows clean first, then with noise."""

    @property
    def as_heard(self) -> FloatArray:
        """The clean windows at the hop of listening, which is twice that of teaching; at least one."""
        return self.embeddings[: max(1, len(self.embeddings) // N_VARIANTS) : 2]


@dataclass(frozen=True, slots=True)
class Head:
    """For each sound what says whether an embedding is one that was taught, and what says which one it is."""

    sounds: tuple[str, ...]
    weights: FloatArray
    """(n_sounds, size) float32: evidence that it is the sound, of a threshold from its budget of false alarms on."""
    bias: FloatArray
    """(n_sounds,) float32."""
    directions: FloatArray
    """(n_sounds, size) float32: discriminants, which can be compared between sounds."""
    offsets: FloatArray
    """(n_sounds,) float32: what is added to these."""
    model_id: str
    recordings: tuple[str, ...]
    """``sound:id`` of every recording that it was fitted on."""

    def score(self, embeddings: FloatArray) -> FloatArray:
        """Evidence of each window for each sound: (n, size) to (n, n_sounds), above 0 from its threshold on.

        Thresholds say whether it is a sound, discriminants which one: none has more evidence than the one whose
        discriminant is highest.
        """
        return settle(embeddings @ self.weights.T + self.bias, self.discriminant(embeddings))

    def discriminant(self, embeddings: FloatArray) -> FloatArray:
        """How much (n, size) embeddings are each of the sounds rather than another: (n, n_sounds)."""
        return embeddings @ self.directions.T + self.offsets

    def save(self, path: Path) -> None:
        """Write the head as npz: arrays and one JSON string, no pickle."""
        about = json.dumps({"sounds": self.sounds, "model_id": self.model_id, "recordings": self.recordings})
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_aside(path, npz(about=about, **arrays))

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read what :meth:`save` wrote.

        Raises:
            ProfileError: If the file is missing or damaged.
        """
        try:
            stored = read_npz(path)
            about = json.loads(str(stored["about"]))
            return cls(
                sounds=tuple(about["sounds"]),
                model_id=about["model_id"],
                recordings=tuple(about["recordings"]),
                **{name: stored[name] for name in _ARRAYS},
            )
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise ProfileError(f"{path} is missing or damaged: run `earmark refit`") from err


def settle(evidence: FloatArray, discriminant: FloatArray) -> FloatArray:
    """Hold (n, n_sounds) evidence below that of the sound with the highest of the (n, n_sounds) discriminants."""
    row, best = np.arange(len(evidence)), np.where(np.isnan(discriminant), -np.inf, discriminant).argmax(axis=1)
    most = evidence[row, best]
    settled = np.minimum(evidence, most[:, None] - _BEHIND)
    settled[row, best] = most
    return settled


@dataclass(frozen=True, slots=True)
class Fit:
    """A head, and what its fit says of itself."""

    head: Head
    head_weights: NDArray[np.float64]
    """(n_sounds, n_heads) how much each head of the network counts for each sound; each row of sum 1. What all heads
    side by side count is shared out among them."""
    held_out: FloatArray
    """(n_windows, n_sounds) evidence of each example's windows as heard, from a fit without it; not a number for the
    own sound of a recording that is the only one of it."""
    owner: NDArray[np.int64]
    """(n_windows,) the example of each of these windows, from 0."""
    thresholds: tuple[Threshold, ...]
    """Of the sounds, in units of the spread of the bank's scores."""


@contextmanager
def _one_thread() -> Iterator[None]:
    """For products so small that threads wait for each other longer than they take."""
    from threadpoolctl import threadpool_limits  # not needed for listening

    with threadpool_limits(1):
        yield


@_one_thread()
def fit_head(
    examples: Sequence[Examples],
    *,
    background: Sequence[Examples],
    bank: FloatArray,
    head_sizes: Mapping[str, int],
    model_id: str,
    recordings: tuple[str, ...],
    confusable: Sequence[Examples] = (),
    settings: Mapping[str, SoundSettings] | None = None,
) -> Fit:
    """Fit all sounds: discriminants, weights of the network's heads, thresholds.

    Args:
        examples: At least one recording of each sound.
        background: Recordings of the room, if there are any.
        bank: (n_windows, size) float32, the model's background bank.
        head_sizes: The network's heads and their widths, in the order in which they lie side by side.
        model_id: Of the model that made the embeddings.
        recordings: ``sound:id`` of every recording, kept in the head.
        confusable: What one sound must not be confused with; its ``sound`` is ``-name`` of that one.
        settings: What was set by hand for some sounds.

    Raises:
        ProfileError: If the model cannot do what was set by hand.
    """
    settings = settings or {}
    sounds = tuple(sorted({entry.sound for entry in examples}))
    sound = np.array([sounds.index(entry.sound) for entry in examples])
    means = np.stack([entry.embeddings.mean(axis=0) for entry in examples])
    windows = np.concatenate([entry.as_heard for entry in examples])
    owner = np.repeat(np.arange(len(examples)), [len(entry.as_heard) for entry in examples])
    room = _join([entry.embeddings for entry in background], bank.shape[1])
    against = [_join([e.embeddings for e in confusable if e.sound == f"-{name}"], bank.shape[1]) for name in sounds]

    ends = np.cumsum(list(head_sizes.values()))
    parts = [slice(end - size, end) for end, size in zip(ends, head_sizes.values(), strict=True)]
    n_heads = len(parts)
    if n_heads > 1:
        parts.append(slice(0, bank.shape[1]))  # all heads side by side: what they say only together
    family = Family(Taught(means, windows, owner, sound, room, against), Background.of(bank), parts)
    alone = [family.fit(np.tile(row, (len(sounds), 1))) for row in np.eye(len(parts))]

    # Which sound it is: one discriminant over the heads, each as noisy as it was found to tell little.
    learned = learn_weights(np.stack([each.held_out for each in alone[:n_heads]]), owner, sound)
    shares = set_by_hand(learned, sounds, tuple(head_sizes), settings)

    def weighed(shares: NDArray[np.float64]) -> Discriminants:
        return family.fit(np.pad(n_heads * shares, ((0, 0), (0, len(parts) - n_heads))))

    which = weighed(shares)
    if (shares != learned).any():
        which = as_high(which, weighed(learned), sound[owner])
    # Whether it is any of them: all discriminants alike, as weights that tell the sounds apart say nothing of all else.
    equal = np.full((len(sounds), len(parts)), 1.0 / len(parts))
    whether = _mixed(alone, set_by_hand(equal, sounds, tuple(head_sizes), settings))

    in_bank, in_room, in_against = (
        rows @ whether.weights.T + whether.bias for rows in (bank, room, np.concatenate(against))
    )
    spread = in_bank.std(axis=0)
    against_which = np.repeat(np.arange(len(sounds)), [len(rows) for rows in against])
    thresholds = tuple(
        choose_threshold(
            in_bank[:, i] / spread[i],
            in_room[:, i] / spread[i],
            in_against[against_which == i, i] / spread[i],
            _budget(settings.get(name)),
        )
        for i, name in enumerate(sounds)
    )
    scale = EVIDENCE / spread
    least = EVIDENCE * np.array([threshold.score for threshold in thresholds])
    head = Head(
        sounds,
        (whether.weights * scale[:, None]).astype(np.float32),
        (whether.bias * scale - least).astype(np.float32),
        which.weights.astype(np.float32),
        which.bias.astype(np.float32),
        model_id,
        recordings,
    )
    settled = settle((whether.held_out * scale - least).astype(np.float32), which.held_out.astype(np.float32))
    return Fit(head, shares, settled, owner, thresholds)


def _mixed(parts: Sequence[Discriminants], shares: NDArray[np.float64]) -> Discriminants:
    """Discriminants of parts of the embedding, (n_sounds, n_parts) times each, as one of it all."""
    pairs = list(zip(parts, shares.T, strict=True))
    return Discriminants(
        np.sum([part.weights * share[:, None] for part, share in pairs], axis=0),
        np.sum([part.bias * share for part, share in pairs], axis=0),
        np.sum([part.held_out * share for part, share in pairs], axis=0),
    )


def _budget(settings: SoundSettings | None) -> float:
    """False alarms a day."""
    by_hand = settings.false_alarms_per_day if settings else None
    return DEFAULT_PER_DAY if by_hand is None else by_hand


def _join(parts: Sequence[FloatArray], size: int) -> FloatArray:
    return np.concatenate([np.zeros((0, size), np.float32), *parts])
