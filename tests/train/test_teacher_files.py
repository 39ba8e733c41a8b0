"""Teachers' files from the authors' files: the filters are librosa's, the answers those of the network."""

from pathlib import Path

import librosa
import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from train.errors import ConfigError
from train.teacher_files import PowerSpectrum, _slaney, _straight_in_mel, make_teacher


def test_the_speaker_encoders_filters_and_spectra_are_librosas() -> None:
    bank = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=40)
    np.testing.assert_allclose(_slaney(40, 400, 16_000, 0.0, 8000.0).numpy(), bank, atol=1e-7)
    x = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    power = PowerSpectrum(torch.hann_window(400), 400, 160, "constant")(torch.from_numpy(x)[None])[0]
    expected = np.abs(librosa.stft(x, n_fft=400, hop_length=160, pad_mode="constant")) ** 2
    np.testing.assert_allclose(power.numpy(), expected, rtol=1e-3, atol=1e-2)


def test_filters_straight_in_mel_add_up_to_one_between_the_first_and_the_last_peak() -> None:
    bank = _straight_in_mel(32, 1024, 32_000, 0.0, 15_000.0).numpy()
    peaks = bank.argmax(axis=1)
    np.testing.assert_allclose(bank.sum(axis=0)[peaks[0] + 1 : peaks[-1]], 1, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # torch's exporter has several
def test_a_speaker_encoder_becomes_a_file_that_gives_unit_vectors_for_any_batch_and_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {f"lstm.{name}": value for name, value in nn.LSTM(40, 256, 3).state_dict().items()}
    state |= {f"linear.{name}": value for name, value in nn.Linear(256, 256).state_dict().items()}
    save_file(state, tmp_path / "ge2e.safetensors")
    assert make_teacher("ge2e", tmp_path / "ge2e.safetensors", tmp_path) < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "ge2e.onnx"), providers=["CPUExecutionProvider"])
    answer = session.run(None, {"waveform": np.full((3, 8000), 0.1, np.float32)})[0]
    np.testing.assert_allclose(np.linalg.norm(answer, axis=1), np.ones(3), rtol=1e-5)
    torch.save({"model_state": state}, tmp_path / "pretrained.pt")
    for name, file in (("mn04", "ge2e.safetensors"), ("ge2e", "pretrained.pt")):
        with pytest.raises(ConfigError, match=rf"{file} is not the published {name} as safetensors: docs/TRAINING.md"):
            make_teacher(name, tmp_path / file, tmp_path)
    with pytest.raises(ConfigError, match=r"there is no file .*nothing.safetensors"):
        make_teacher("mn04", tmp_path / "nothing.safetensors", tmp_path)
