import numpy as np
import torch
from scipy.fft import dct

from export.graph.graph_writer import GraphWriter
from export.graph.spectrum import (
    MOVEMENT,
    SPECTRUM,
    cosine_basis,
    head_columns,
    spectrum_statistics,
    write_statistics,
)
from export.runtime import open_session


def spectrogram(n: int = 3, n_mels: int = 8, n_frames: int = 11) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 1, n_mels, n_frames)).astype(np.float32)


def test_the_basis_is_the_cosine_transform_that_everyone_uses() -> None:
    x = np.random.default_rng(1).standard_normal(8)
    expected = dct(x, type=2, norm="ortho")
    expected[0] *= np.sqrt(2)  # scipy makes the first row orthonormal as well
    np.testing.assert_allclose(cosine_basis(8) @ x, expected, atol=1e-12)


def test_the_statistics_are_mean_spread_and_movement_of_the_cepstrum() -> None:
    x = spectrogram()
    cepstrum = np.einsum("cm,bmt->bct", cosine_basis(8), x[:, 0])
    expected = [cepstrum.mean(axis=2), cepstrum.std(axis=2), np.diff(cepstrum, axis=2).std(axis=2)]
    found = spectrum_statistics(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-5)


def test_the_graph_computes_what_torch_does() -> None:
    x = spectrogram()
    writer = GraphWriter()
    shape = writer.constant("shape", np.array([-1, 1, 8, 11]))
    value = writer.node("Reshape", ["waveform", shape], "spectrogram")
    write_statistics(writer, value, 8, 11)
    writer.node("Identity", ["spectrum.statistics"], "out")
    session = open_session(writer.model(clip_samples=88, outputs=[("out", 24)]).SerializeToString())
    found = session.run(None, {"waveform": x.reshape(3, 88)})[0]
    np.testing.assert_allclose(found, spectrum_statistics(torch.from_numpy(x)).numpy(), atol=1e-5)


def test_a_spectrogram_that_does_not_change_has_no_spread() -> None:
    still = np.repeat(spectrogram(n_frames=1), 5, axis=3)
    found = spectrum_statistics(torch.from_numpy(still)).numpy()
    np.testing.assert_allclose(found[:, 8:], 1e-3, atol=1e-5)


def test_the_two_heads_share_the_statistics_and_a_level_changes_none_of_the_colour() -> None:
    columns = head_columns(8)
    assert sorted(columns[SPECTRUM] + columns[MOVEMENT]) == list(range(24))
    x = torch.from_numpy(spectrogram())
    quiet, loud = (spectrum_statistics(x + level)[:, columns[SPECTRUM]].numpy() for level in (0.0, 3.0))
    np.testing.assert_allclose(quiet, loud, atol=1e-5)
