"""Make ``shipped_embedding.json``: what the shipped model's checkpoint says of a bundled clip, in torch and float32.

Run by ``make model``: python -m tests.golden.shipped_embedding CHECKPOINT CORPUS_CACHE
"""

import json
import sys
from pathlib import Path

import numpy as np

from device_app.demo.stream import bundled_clips
from device_app.files import write_aside
from device_app.model.embedder import load_embedder
from export.graph.checkpoint_network import read_network
from export.model_export import draw_windows
from export.proof.reference import Reference
from tests.golden.stored_clip import STORED, stored_clip
from train.corpus.cache import Cache


def main(checkpoint: Path, corpus: Path) -> None:
    """Embed the clip with every head of the shipped model."""
    embedder = load_embedder()
    trained = read_network(checkpoint)
    reference = Reference(trained, list(embedder.heads), draw_windows(Cache(corpus), trained.config).mean)
    embeddings = reference(stored_clip(embedder.metadata.clip_samples, embedder.metadata.sample_rate)[None])
    document = {
        "model_id": embedder.metadata.model_id,
        "clip": bundled_clips("enrol")["dog_bark"][0].name,
        "embeddings": {name: np.round(rows[0].astype(float), 4).tolist() for name, rows in embeddings.items()},
    }
    write_aside(STORED, json.dumps(document).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
