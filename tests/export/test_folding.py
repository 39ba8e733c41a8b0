"""The folded network computes what the trained one does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from device_app.arrays import FloatArray
from export.folding import fold
from export.network_graph import NetworkWriter
from export.runtime import embed, open_session
from tests.export.networks import random_backbone
from train.config import Config, DataConfig, FrontendConfig, Trunk, Variant
from train.frontend import LogMel

VARIANTS: tuple[Variant, ...] = ("none", "split", "bn", "series", "parallel")


def clips(n: int, n_samples: int, seed: int = 0) -> FloatArray:
    """(n, n_samples) float32: noise that rises and falls, so that frames differ."""
    rng = np.random.default_rng(seed)
    shape = np.abs(np.sin(np.linspace(0, 5, n_samples) + rng.uniform(0, 3, (n, 1))))
    return (0.1 * shape * rng.standard_normal((n, n_samples))).astype(np.float32)


@pytest.mark.parametrize("trunk", ["matched", "published"])
@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**16), n_tasks=st.integers(2, 3), n_samples=st.integers(8_000, 18_000))
def test_the_folded_network_gives_the_embeddings_of_the_trained_one(
    variant: Variant, trunk: Trunk, seed: int, n_tasks: int, n_samples: int
) -> None:
    frontend = FrontendConfig()
    backbone = random_backbone(variant, trunk, n_tasks=n_tasks, seed=seed)
    waveforms = clips(3, n_samples, seed)
    with torch.no_grad():
        expected = backbone(LogMel(frontend)(torch.from_numpy(waveforms)))
    model = NetworkWriter(fold(backbone)).write(frontend, n_samples, None)
    result = embed(open_session(model.SerializeToString()), waveforms, backbone.tasks)
    for name, values in zip(backbone.tasks, expected, strict=True):
        scale = float(values.abs().max())
        np.testing.assert_allclose(result[name], values.numpy(), rtol=0, atol=2e-4 * scale)


@pytest.mark.parametrize(
    "frontend",
    [
        FrontendConfig(),
        FrontendConfig(centred=True),
        FrontendConfig(n_fft=400, win_length=400, hop_length=160, n_mels=20, f_min=0.0, log_mean=1.5, log_std=3.0),
        FrontendConfig(sample_rate=32_000, n_fft=2048, win_length=1100, hop_length=320, f_max=14_000.0),
    ],
    ids=["default", "centred", "n_fft = 20 x 20", "32 kHz"],
)
def test_the_front_end_in_the_graph_gives_the_spectrogram_of_training(frontend: FrontendConfig) -> None:
    from export.frontend_graph import write_frontend
    from export.graph_writer import GraphWriter, subgraph

    n_samples = Config(frontend=frontend, data=DataConfig(clip_s=1.0)).clip_samples
    waveforms = clips(4, n_samples)
    waveforms[1] *= 1e-3
    waveforms[2, : n_samples // 2] = 0.0
    waveforms[3] = np.sin(np.arange(n_samples) * 0.3)
    writer = GraphWriter()
    spectrogram = write_frontend(writer, "waveform", frontend, n_samples)
    shape = writer.constant("flat", np.array([0, -1]))
    writer.node("Reshape", [spectrogram, shape], "out")
    n_frames = frontend.n_frames(n_samples)
    model = writer.model(clip_samples=n_samples, outputs=[("out", frontend.n_mels * n_frames)])
    session = open_session(subgraph(model, [spectrogram]).SerializeToString())
    result = session.run(None, {"waveform": waveforms})[0]
    expected = LogMel(frontend, "matmul")(torch.from_numpy(waveforms)).numpy()
    assert result.shape == (4, 1, frontend.n_mels, n_frames)
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-3)
