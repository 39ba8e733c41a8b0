"""Waveforms to embeddings with the shipped network, or another one of ours."""

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from device_app.arrays import FloatArray
from device_app.errors import ModelFileError
from device_app.model.model_file import ModelFile, ModelMetadata, read_model_file

_BATCH = 32
"""Windows a call: larger ones only cost memory on one thread."""


class Embedder:
    """The network behind one call. It keeps no state between calls."""

    def __init__(self, model_file: ModelFile, heads: Sequence[str] | None = None) -> None:
        """Load the network, or as much of it as some heads need.

        Raises:
            ModelFileError: If the model has no such head.
        """
        self.path = model_file.path
        self.metadata: ModelMetadata = model_file.metadata
        self.golden = model_file.golden
        self._bank = model_file.bank
        known = [output.name for output in self.metadata.outputs]
        chosen = known if heads is None else list(heads)
        unknown = set(chosen) - set(known) or ({""} if not chosen else set())
        if unknown:
            raise ModelFileError(f"{self.path} has no head '{min(unknown)}': choose of {', '.join(known)}")
        self.outputs = tuple(output for output in self.metadata.outputs if output.name in chosen)
        """Heads that are computed, in the order of the file."""
        self.heads = tuple(output.name for output in self.outputs)
        self._session = model_file.open_session(self.heads)
        missing = set(self.heads) - {output.name for output in self._session.get_outputs()}
        if missing:
            raise ModelFileError(
                f"{self.path} describes an output '{min(missing)}' that its network lacks: export it again"
            )

    @property
    def head_sizes(self) -> dict[str, int]:
        """Widths of the heads, in the order in which they lie side by side."""
        return {output.name: output.size for output in self.outputs}

    @property
    def size(self) -> int:
        """Width of the embedding: the heads side by side."""
        return sum(output.size for output in self.outputs)

    def embed_heads(self, windows: FloatArray) -> dict[str, FloatArray]:
        """Embed windows, each head on its own.

        Args:
            windows: (n, clip_samples) float32 in [-1, 1] at ``metadata.sample_rate`` Hz.

        Returns:
            For each head (n, size) float32 of unit length; zeros for a window of silence.
        """
        if windows.ndim != 2 or windows.shape[1] != self.metadata.clip_samples:
            raise ValueError(f"windows have shape {windows.shape}, not (n, {self.metadata.clip_samples})")
        if not len(windows):
            return {output.name: np.zeros((0, output.size), np.float32) for output in self.outputs}
        parts = [
            self._session.run(list(self.heads), {"waveform": np.ascontiguousarray(windows[start : start + _BATCH])})
            for start in range(0, len(windows), _BATCH)
        ]
        rows = parts[0] if len(parts) == 1 else [np.concatenate(each) for each in zip(*parts, strict=True)]
        return dict(zip(self.heads, rows, strict=True))

    def embed(self, windows: FloatArray) -> FloatArray:
        """Embed windows: (n, clip_samples) to (n, size), heads side by side, of unit length, or 0 for silence."""
        return self._side_by_side(self.embed_heads(windows))

    def background(self) -> FloatArray:
        """The model's bank of everyday audio, (n_windows, size), like the rows of :meth:`embed`."""
        return self._side_by_side(self._bank.dequantised())

    def _side_by_side(self, heads: dict[str, FloatArray]) -> FloatArray:
        joined = np.concatenate([heads[name] for name in self.heads], axis=1)
        return np.asarray(joined / np.sqrt(len(self.heads)), dtype=np.float32)

    def golden_error(self) -> float:
        """Largest difference between this machine's embeddings of the golden input and those in the file."""
        waveform = (self.golden.waveform.astype(np.float32) / 32768.0)[None]
        heads = self.embed_heads(waveform)
        # numpy's maximum, unlike Python's, of something that is not a number is not a number
        return float(np.max([np.abs(heads[name][0] - self.golden.embeddings[name]).max() for name in self.heads]))


def load_embedder(path: Path | None = None, heads: Sequence[str] | None = None) -> Embedder:
    """Open a model file; without a path, the one that is shipped with the package.

    Args:
        path: Of the file.
        heads: What to compute, and to pay for; None for all.

    Raises:
        ModelFileError: If the file is missing, damaged or not one of ours.
    """
    if path is not None:
        return Embedder(read_model_file(path), heads)
    with as_file(files("device_app") / "data" / "model.onnx") as shipped:
        return Embedder(read_model_file(shipped), heads)
