"""What the trained network itself says, in torch: the measure of every exported file."""

import numpy as np
import torch
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from export.graph.checkpoint_network import TrainedNetwork
from export.graph.spectrum import head_columns, spectrum_statistics
from export.graph.whitening import Whitening
from train.evaluate.probing.probes import unit_length
from train.frontend import SILENCE_DBFS, make_frontend

_BATCH = 32


class Reference:
    """Embeds clips with the unfolded network, whitened over corpus windows as a model file does."""

    def __init__(self, trained: TrainedNetwork, heads: list[str], corpus_windows: FloatArray) -> None:
        """Measure each head on a corpus.

        Args:
            trained: The network.
            heads: Which of its heads to compute.
            corpus_windows: (n, clip_samples) float32 to measure on.
        """
        self._trained = trained
        self._heads = heads
        self._frontend = make_frontend(trained.config.frontend)
        self.corpus = self.raw(corpus_windows)
        """What :meth:`raw` says of the corpus."""
        self._whitenings = {name: Whitening.of(name, rows) for name, rows in self.corpus.items()}

    def __call__(self, clips: FloatArray) -> dict[str, FloatArray]:
        """Embed (n, clip_samples) float32 clips: (n, size) float32 of each head, of unit length; zeros for silence."""
        heard = audible(clips)
        return {name: heard * unit_length(self._whitenings[name].apply(rows)) for name, rows in self.raw(clips).items()}

    @torch.no_grad()
    def raw(self, clips: FloatArray) -> dict[str, FloatArray]:
        """Each head's last layer, (n, size), of (n, clip_samples) clips."""
        backbone, parts = self._trained.backbone, []
        for start in range(0, len(clips), _BATCH):
            spectrogram = self._frontend(torch.from_numpy(clips[start : start + _BATCH]))
            values = dict(zip(backbone.tasks, backbone(spectrogram), strict=True))
            statistics = spectrum_statistics(spectrogram)
            values |= {name: statistics[:, columns] for name, columns in head_columns(spectrogram.shape[2]).items()}
            for name, head in self._trained.linear_heads.items():
                values[name] = head.linear(values[head.branch])
            parts.append({name: values[name].numpy() for name in self._heads})
        return {name: np.concatenate([part[name] for part in parts]) for name in self._heads}


def audible(clips: FloatArray) -> NDArray[np.bool_]:
    """(n, 1): whether there is anything to hear in each of (n, clip_samples) clips."""
    return clips.var(axis=1, keepdims=True) > 10 ** (SILENCE_DBFS / 10)
