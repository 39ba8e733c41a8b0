from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tests.train.tiny import tiny_config
from train.checkpoint import CheckpointInfo, save_checkpoint
from train.errors import CheckpointError, EvaluationError
from train.evaluate.encoders import CONTROLS, open_encoder
from train.frontend import LogMel
from train.network.backbone import Backbone
from train.network.system import PretrainingSystem


def write_onnx(path: Path, metadata: dict[str, str]) -> Path:
    """Two heads that multiply a window of 4000 samples by fixed matrices."""
    rng = np.random.default_rng(0)
    nodes, weights, outputs = [], [], []
    for name, size in (("invariant", 6), ("sensitive", 4)):
        matrix = rng.standard_normal((4000, size)).astype(np.float32)
        weights.append(helper.make_tensor(f"{name}_w", TensorProto.FLOAT, matrix.shape, matrix.tobytes(), raw=True))
        nodes.append(helper.make_node("MatMul", ["waveform", f"{name}_w"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]))
    waveform = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["n", 4000])
    graph = helper.make_graph(nodes, "heads", [waveform], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def write_checkpoint(path: Path, **model: object) -> tuple[Path, PretrainingSystem]:
    config = tiny_config(model=model)
    torch.manual_seed(0)
    system = PretrainingSystem(config).eval()
    info = CheckpointInfo(step=3, git_commit="none", config_sha256="", corpus_sha256="")
    save_checkpoint(path, info=info, config=config, model=system.state_dict(), training={})
    return path, system


def test_a_checkpoint_embeds_with_its_own_frontend_and_names_its_heads(tmp_path: Path) -> None:
    path, system = write_checkpoint(tmp_path / "last.safetensors")
    encoder = open_encoder(str(path))
    assert (encoder.sample_rate, encoder.clip_samples, encoder.standardise) == (16_000, 4000, False)
    windows = np.random.default_rng(0).standard_normal((3, 4000)).astype(np.float32)
    got = encoder.embed(windows)
    with torch.no_grad():
        expected = system.backbone(LogMel(system.cfg.frontend)(torch.from_numpy(windows)))
    assert list(got) == ["invariant", "sensitive"]
    for head, rows in zip(got, expected, strict=True):
        np.testing.assert_allclose(got[head], rows.numpy(), atol=1e-6)


def test_tasks_that_share_everything_are_one_head(tmp_path: Path) -> None:
    path, _ = write_checkpoint(tmp_path / "shared.safetensors", variant="none")
    assert list(open_encoder(str(path)).embed(np.zeros((1, 4000), np.float32))) == ["shared"]
    path, _ = write_checkpoint(tmp_path / "alone.safetensors", variant="none", tasks=["invariant"])
    assert list(open_encoder(str(path)).embed(np.zeros((1, 4000), np.float32))) == ["invariant"]


def test_an_exported_file_is_read_by_its_metadata_and_gives_a_row_for_each_head(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "model.onnx", {"sample_rate": "16000", "clip_samples": "4000"})
    encoder = open_encoder(str(path))
    assert (encoder.sample_rate, encoder.clip_samples) == (16_000, 4000)
    got = encoder.embed(np.eye(4000, dtype=np.float32)[:3])
    assert {head: rows.shape for head, rows in got.items()} == {"invariant": (3, 6), "sensitive": (3, 4)}
    np.testing.assert_allclose(got["invariant"], np.random.default_rng(0).standard_normal((4000, 6))[:3], atol=1e-6)


def test_a_fingerprint_follows_the_contents_not_the_name(tmp_path: Path) -> None:
    metadata = {"sample_rate": "16000", "clip_samples": "4000"}
    first = open_encoder(str(write_onnx(tmp_path / "a.onnx", metadata))).fingerprint
    assert open_encoder(str(write_onnx(tmp_path / "b.onnx", metadata))).fingerprint == first
    other = open_encoder(str(write_onnx(tmp_path / "a.onnx", {**metadata, "note": "other"}))).fingerprint
    assert other != first


@pytest.mark.parametrize("metadata", [{}, {"sample_rate": "16000"}, {"sample_rate": "16000", "clip_samples": "many"}])
def test_an_onnx_file_without_metadata_is_an_error_that_names_it(tmp_path: Path, metadata: dict[str, str]) -> None:
    path = write_onnx(tmp_path / "bare.onnx", metadata)
    with pytest.raises(EvaluationError, match=r"bare\.onnx lacks the metadata sample_rate and clip_samples"):
        open_encoder(str(path))


def test_what_cannot_be_opened_is_an_error_that_says_what_can(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(EvaluationError, match=r"broken\.onnx cannot be opened as an ONNX model"):
        open_encoder(str(tmp_path / "broken.onnx"))
    with pytest.raises(EvaluationError, match=r"there is no model file .*none\.onnx"):
        open_encoder(str(tmp_path / "none.onnx"))
    with pytest.raises(EvaluationError, match=r"'logmel' is neither a file nor a control: .*log-mel-statistics, mfcc"):
        open_encoder("logmel")
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*none\.safetensors"):
        open_encoder(str(tmp_path / "none.safetensors"))


def test_controls_embed_and_the_random_network_is_the_same_each_time() -> None:
    windows = np.random.default_rng(0).standard_normal((2, 16_000)).astype(np.float32)
    sizes = {name: next(iter(make().embed(windows).values())).shape for name, make in CONTROLS.items()}
    assert sizes == {"log-mel-statistics": (2, 128), "mfcc-statistics": (2, 80), "random-resnet18": (2, 1000)}
    before = torch.random.get_rng_state()
    first, second = (open_encoder("random-resnet18").embed(windows)["shared"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert torch.equal(before, torch.random.get_rng_state())
    assert isinstance(open_encoder("random-resnet18")._backbone, Backbone)  # the paper's, 11.5 million weights
    assert sum(p.numel() for p in open_encoder("random-resnet18")._backbone.parameters()) > 11_000_000


def test_statistics_are_means_and_deviations_over_time() -> None:
    """Of a steady tone the deviation of the band that holds it is small, and its mean is the largest."""
    t = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 1000 * t).astype(np.float32)[None]
    rows = open_encoder("log-mel-statistics").embed(tone)["statistics"][0]
    from train.evaluate.encoders import CONTROL_FRONTEND

    spectrum = LogMel(CONTROL_FRONTEND)(torch.from_numpy(tone))[0, 0].numpy()
    np.testing.assert_allclose(rows[:64], spectrum.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(rows[64:], spectrum.std(axis=1, ddof=1), atol=1e-5)
