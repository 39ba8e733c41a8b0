"""Each clip of a set embedded once, and kept under a name that says what it was made of.

Shapes: N clips, S samples of a window, D size of a head.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from train.corpus.decode import UnusableAudioError, read_clip
from train.errors import CorpusError
from train.evaluate.encoders import ALL_HEADS, Encoder
from train.evaluate.probing.probes import unit_length
from train.evaluate.sets import LabelledSet
from train.files import read_npz, save_npz
from train.frontend import SILENCE_DBFS

_log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

Change = Callable[[FloatArray, int, np.random.Generator], FloatArray]
"""What happens to a clip before it is embedded: samples, rate, and where chance comes from; samples."""

_BATCH = 64
_FORMAT = "audible-windows-half-overlapping-2"


def clip_windows(samples: FloatArray, size: int) -> FloatArray:
    """Cut a clip into windows, half of one apart, the last ending with the clip; a short clip is centred in silence.

    Args:
        samples: (n_samples,) float32.
        size: S.

    Returns:
        (n_windows, S) float32.
    """
    if len(samples) < size:
        before = (size - len(samples)) // 2
        samples = np.pad(samples, (before, size - len(samples) - before))
    starts = sorted({*range(0, len(samples) - size + 1, size // 2), len(samples) - size})
    return np.stack([samples[start : start + size] for start in starts])


def audible(windows: FloatArray) -> FloatArray:
    """Those of (n, S) windows in which there is something to hear, or all of them if there is nothing in any.

    Clips are often padded with silence, which belongs to no class.
    """
    loud = windows.var(axis=1) > 10 ** (SILENCE_DBFS / 10)
    return windows[loud] if loud.any() else windows


def read_samples(labelled: LabelledSet, index: int, sample_rate: int) -> FloatArray:
    """One clip of a set, float32 in [-1, 1].

    Raises:
        CorpusError: If it cannot be used; names the set, the class and the file.
    """
    path = labelled.paths[index]
    try:
        return np.asarray(read_clip(path, sample_rate) / 32768, dtype=np.float32)
    except UnusableAudioError as err:
        raise CorpusError(
            f"{labelled.name}: class {labelled.classes[labelled.labels[index]]!r}: {path} {err}: replace or remove it"
        ) from err


def embed_set(
    encoder: Encoder, labelled: LabelledSet, *, change: Change | None = None, progress: bool = False, what: str = ""
) -> dict[str, FloatArray]:
    """Mean embedding of each clip's audible windows: (N, D) float32 of each head, not scaled.

    Args:
        encoder: What embeds.
        labelled: The clips.
        change: What is done to each clip first; what it draws follows from the clip's place in the set.
        progress: Whether to draw a bar on stderr.
        what: To be said on the bar besides the set's name.

    Raises:
        CorpusError: If a clip cannot be used.
    """
    n_clips = len(labelled.paths)
    sums: dict[str, FloatArray] = {}
    counts = np.zeros(n_clips, dtype=np.int64)
    for owners, windows in _batches(
        encoder, labelled, change, tqdm(total=n_clips, disable=not progress, unit="clip", desc=f"{labelled.name}{what}")
    ):
        np.add.at(counts, owners, 1)
        for head, rows in encoder.embed(windows).items():
            total = sums.setdefault(head, np.zeros((n_clips, rows.shape[1]), dtype=np.float32))
            np.add.at(total, owners, rows)
    return {head: (total / counts[:, None]).astype(np.float32) for head, total in sums.items()}


def _batches(
    encoder: Encoder, labelled: LabelledSet, change: Change | None, bar: "tqdm[None]"
) -> Iterator[tuple[npt.NDArray[np.int64], FloatArray]]:
    """The clips' windows, a batch at a time, and the clip of each."""
    waiting: list[FloatArray] = []
    owners: list[int] = []
    with bar:
        for index in range(len(labelled.paths)):
            samples = read_samples(labelled, index, encoder.sample_rate)
            if change is not None:
                samples = change(samples, encoder.sample_rate, np.random.default_rng((index, 0)))
            windows = audible(clip_windows(samples, encoder.clip_samples))
            waiting.extend(windows)
            owners.extend([index] * len(windows))
            bar.update()
            while len(waiting) >= _BATCH:
                yield np.array(owners[:_BATCH]), np.stack(waiting[:_BATCH])
                del waiting[:_BATCH], owners[:_BATCH]
        if waiting:
            yield np.array(owners), np.stack(waiting)


class EmbeddingCache:
    """Embeddings in a folder, by the contents of everything that they were made of."""

    def __init__(self, folder: Path, progress: bool = False) -> None:
        self.folder = folder
        self.progress = progress
        self._contents: dict[Path, str] = {}

    def embed(
        self, encoder: Encoder, labelled: LabelledSet, condition: str = "", change: Change | None = None
    ) -> dict[str, FloatArray]:
        """As :func:`embed_set`; ``condition`` names ``change``."""
        key = hashlib.sha256(f"{_FORMAT} {encoder.fingerprint} {condition}".encode())
        for path in labelled.paths:
            key.update(self._content(path).encode())
        name = f"{labelled.name.replace(' ', '-')}{'-' if condition else ''}{condition}-{key.hexdigest()[:16]}.npz"
        path = self.folder / encoder.fingerprint / name
        if path.is_file():
            try:
                return read_npz(path)
            except ValueError as err:
                _log.warning("%s is damaged (%s): embedding %s again", path, err, labelled.name)
        what = f", {condition}" if condition else ""
        result = embed_set(encoder, labelled, change=change, progress=self.progress, what=what)
        save_npz(path, **result)
        return result

    def _content(self, path: Path) -> str:
        """Hash of a file, computed once."""
        if path not in self._contents:
            with path.open("rb") as file:
                self._contents[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._contents[path]


def with_all_heads(heads: dict[str, FloatArray], *, unit: bool = True) -> dict[str, FloatArray]:
    """The heads, and if there are several, all of them side by side, each of unit length unless ``unit`` is off."""
    if len(heads) == 1:
        return heads
    parts = [unit_length(rows) if unit else rows for rows in heads.values()]
    return {**heads, ALL_HEADS: np.concatenate(parts, axis=1)}
