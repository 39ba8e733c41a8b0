"""The folded network computes what the trained one does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from device_app.arrays import FloatArray
from export.graph.folding import fold
from export.graph.network_graph import NetworkWriter
from export.runtime import embed, open_session
from tests.export.networks import random_backbone
from train.config import FrontendConfig, Trunk, Variant
from train.frontend import LogMel

VARIANTS: tuple[Variant, ...] = ("none", "split", "bn", "series", "parallel")


def clips(n: int, n_samples: int, seed: int = 0) -> FloatArray:
    """(n, n_samples) float32: noise that rises and falls, so that frames differ."""
    rng = np.random.default_rng(seed)
    shape = np.abs(np.sin(np.linspace(0, 5, n_samples) + rng.uniform(0, 3, (n, 1))))
    return (0.1 * shape * rng.standard_normal((n, n_samples))).astype(np.float32)


@pytest.mark.parametrize("trunk", ["matched", "published"])
@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=3, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_tasks=st.integers(1, 3),
    width=st.sampled_from([4, 5, 8]),
    n_samples=st.integers(8_000, 18_000),
)
def test_the_folded_network_gives_the_embeddings_of_the_trained_one(
    variant: Variant, trunk: Trunk, seed: int, n_tasks: int, width: int, n_samples: int
) -> None:
    frontend = FrontendConfig()
    n_tasks = n_tasks if variant == "none" else max(n_tasks, 2)  # a single task has nothing to divide
    backbone = random_backbone(variant, trunk, n_tasks=n_tasks, width=width, seed=seed)
    waveforms = clips(3, n_samples, seed)
    with torch.no_grad():
        expected = backbone(LogMel(frontend)(torch.from_numpy(waveforms)))
    model = NetworkWriter(fold(backbone)).write(frontend, n_samples, None)
    result = embed(open_session(model.SerializeToString()), waveforms, backbone.tasks)
    for name, values in zip(backbone.tasks, expected, strict=True):
        scale = float(values.abs().max())
        np.testing.assert_allclose(result[name], values.numpy(), rtol=0, atol=2e-4 * scale)
