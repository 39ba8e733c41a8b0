import json

import numpy as np
import pytest

from device_app.model.embedder import Embedder, load_embedder
from tests.golden.stored_clip import STORED, stored_clip

SHIPPED_STORED = json.loads(STORED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shipped() -> Embedder:
    return load_embedder()


def test_the_shipped_model_embeds_a_bundled_clip_as_its_checkpoint_does_in_torch(shipped: Embedder) -> None:
    """Stored by tests/golden/shipped_embedding.py. Tolerance: what 8 bits cost on the worst clip of a parity report."""
    assert SHIPPED_STORED["model_id"] == shipped.metadata.model_id
    clip = stored_clip(shipped.metadata.clip_samples, shipped.metadata.sample_rate)
    embeddings = shipped.embed_heads(clip[None])
    assert set(embeddings) == set(SHIPPED_STORED["embeddings"])
    for name, stored in SHIPPED_STORED["embeddings"].items():
        assert float(embeddings[name][0] @ np.array(stored)) > 0.97, name


def test_the_shipped_model_computes_here_what_it_did_where_it_was_exported(shipped: Embedder) -> None:
    assert shipped.golden_error() < 0.02


def test_the_shipped_model_says_what_it_is(shipped: Embedder) -> None:
    metadata = shipped.metadata
    assert metadata.quantisation == "int8"
    assert metadata.sample_rate == 16000
    assert metadata.training_steps >= 1000
    assert {"invariant", "sensitive"} <= {output.name for output in metadata.outputs}
    assert "GPL" in metadata.data_licence


def test_every_row_of_every_head_and_of_the_bank_has_unit_length_or_is_silence(shipped: Embedder) -> None:
    rng = np.random.default_rng(0)
    windows = 0.1 * rng.standard_normal((3, shipped.metadata.clip_samples)).astype(np.float32)
    for rows in (*shipped.embed_heads(windows).values(), shipped.embed(windows)):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=0.01)
    lengths = np.linalg.norm(shipped.background(), axis=1)
    audible = lengths > 0.0
    np.testing.assert_allclose(lengths[audible], 1.0, atol=0.01)
    assert audible.mean() > 0.99


def test_silence_and_no_window_at_all_have_an_answer(shipped: Embedder) -> None:
    assert not shipped.embed(np.zeros((1, shipped.metadata.clip_samples), np.float32)).any()
    assert shipped.embed(np.zeros((0, shipped.metadata.clip_samples), np.float32)).shape == (0, shipped.size)
