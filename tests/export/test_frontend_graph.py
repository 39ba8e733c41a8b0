"""The front-end in the graph gives the spectrogram of training, and of librosa's filters and numpy's transform."""

import librosa
import numpy as np
import onnxruntime as ort
import pytest
import torch

from device_app.arrays import FloatArray
from export.errors import ExportError
from export.graph.frontend_graph import write_frontend
from export.graph.graph_writer import GraphWriter, subgraph
from export.runtime import open_session
from tests.export.test_folding import clips
from train.config import Config, DataConfig, FrontendConfig
from train.frontend import LogMel

FRONTENDS = {
    "default": FrontendConfig(),
    "centred": FrontendConfig(centred=True),
    "n_fft = 20 x 20": FrontendConfig(
        n_fft=400, win_length=400, hop_length=160, n_mels=20, f_min=0.0, log_mean=1.5, log_std=3.0
    ),
    "32 kHz": FrontendConfig(sample_rate=32_000, n_fft=2048, win_length=1100, hop_length=320, f_max=14_000.0),
}


def frontend_session(frontend: FrontendConfig, n_samples: int) -> ort.InferenceSession:
    writer = GraphWriter()
    spectrogram = write_frontend(writer, "waveform", frontend, n_samples)
    writer.node("Reshape", [spectrogram, writer.constant("flat", np.array([0, -1]))], "out")
    model = writer.model(clip_samples=n_samples, outputs=[("out", frontend.n_mels * frontend.n_frames(n_samples))])
    return open_session(subgraph(model, [spectrogram]).SerializeToString())


def waveforms(n_samples: int) -> FloatArray:
    result = clips(4, n_samples)
    result[1] *= 1e-3
    result[2, : n_samples // 2] = 0.0
    result[3] = np.sin(np.arange(n_samples) * 0.3)
    return result


@pytest.mark.parametrize("name", FRONTENDS)
def test_the_front_end_in_the_graph_gives_the_spectrogram_of_training(name: str) -> None:
    frontend = FRONTENDS[name]
    n_samples = Config(frontend=frontend, data=DataConfig(clip_s=1.0)).clip_samples
    x = waveforms(n_samples)
    result = frontend_session(frontend, n_samples).run(None, {"waveform": x})[0]
    assert result.shape == (4, 1, frontend.n_mels, frontend.n_frames(n_samples))
    np.testing.assert_allclose(result, LogMel(frontend, "matmul")(torch.from_numpy(x)).numpy(), rtol=0, atol=2e-3)


def test_the_front_end_in_the_graph_is_its_formula_with_librosas_filters_and_numpys_transform() -> None:
    frontend = FrontendConfig(log_mean=2.5, log_std=4.5)
    x = waveforms(16_000)
    mel = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=64, fmin=50, fmax=8000, htk=True, norm=None)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(640) / 640)
    result = frontend_session(frontend, 16_000).run(None, {"waveform": x})[0][:, 0]
    for ours, clip in zip(result, x.astype(np.float64), strict=True):
        clip = (clip - clip.mean()) / np.sqrt(clip.var() + frontend.waveform_variance_floor)
        frames = np.lib.stride_tricks.sliding_window_view(clip, 640)[::256] * window
        power = np.abs(np.fft.rfft(frames, 1024)) ** 2
        expected = (np.log(np.maximum(mel @ power.T, frontend.log_floor)) - 2.5) / 4.5
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-3)


def test_silence_is_a_spectrogram_at_the_floor() -> None:
    frontend = FrontendConfig()
    result = frontend_session(frontend, 16_000).run(None, {"waveform": np.zeros((1, 16_000), np.float32)})[0]
    expected = (np.log(frontend.log_floor) - frontend.log_mean) / frontend.log_std
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


def test_channels_that_have_no_graph_are_a_sentence() -> None:
    frontend = FrontendConfig(channels="stft", centred=True)
    with pytest.raises(ExportError, match=r"train with frontend\.channels='log-mel'"):
        write_frontend(GraphWriter(), "waveform", frontend, 16_000)
