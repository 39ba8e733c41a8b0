"""A checkpoint becomes a file that does what the checkpoint does, and says so."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from device_app.errors import ModelFileError
from device_app.model.embedder import load_embedder
from device_app.model.model_file import SCHEMA, read_model_file
from export import model_export
from export.graph.checkpoint_network import choose_heads, read_network
from export.graph.folding import fold
from export.model_export import bank_clips, draw_windows, export_model, read_architecture
from export.proof.reference import Reference
from tests.export.conftest import HEADS, LEAST_COSINE, OTHER_LEAST_COSINE, config
from train.corpus.cache import Cache
from train.frontend import SILENCE_DBFS


def cosines(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.sum(first[name] * second[name], axis=1) for name in first}


def test_the_fp32_file_gives_the_embeddings_of_the_checkpoint_in_torch(
    models: Path, checkpoint: Path, cache: Cache
) -> None:
    windows = draw_windows(cache, config())
    expected = Reference(read_network(checkpoint), HEADS, windows.mean)(windows.test)
    ours = load_embedder(models / "fp32.onnx").embed_heads(windows.test)
    assert list(ours) == HEADS
    for name in HEADS:
        np.testing.assert_allclose(ours[name], expected[name], rtol=0, atol=2e-3)


def test_int8_is_close_to_fp32(models: Path, cache: Cache) -> None:
    windows = draw_windows(cache, config()).test
    fp32, int8 = (load_embedder(models / f"{name}.onnx") for name in ("fp32", "int8"))
    for name, cosine in cosines(fp32.embed_heads(windows), int8.embed_heads(windows)).items():
        assert cosine.mean() > LEAST_COSINE.get(name, OTHER_LEAST_COSINE), name
    assert (models / "int8.onnx").stat().st_size < (models / "fp32.onnx").stat().st_size


def test_the_clips_of_the_bank_are_those_that_its_windows_are_cut_from(cache: Cache) -> None:
    clips, bank = bank_clips(cache, config()), draw_windows(cache, config()).bank
    half = model_export.N_BANK // 2
    assert len(clips) == len(bank) == 2 * half
    for i in (*range(40), *range(half, half + 40)):
        window = (bank[i] * 32768).astype(np.int16).tobytes()
        clip = cache.samples(clips[i], 0, clips[i].n_samples).tobytes()
        assert window in clip or clip in window  # a short clip lies amid silence


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_embeddings_have_unit_length_and_no_mean_over_the_corpus(models: Path, cache: Cache, precision: str) -> None:
    embedder = load_embedder(models / f"{precision}.onnx")
    windows = draw_windows(cache, config()).mean
    for rows in embedder.embed_heads(windows).values():
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-4)
    raw = onnx.load_from_string(embedder_graph(models / f"{precision}.onnx"))
    for name in HEADS:  # what is brought to unit length has mean zero
        output = onnx.helper.make_tensor_value_info(f"{name}.centred", onnx.TensorProto.FLOAT, None)
        raw.graph.output.append(output)
    session = ort.InferenceSession(raw.SerializeToString(), providers=["CPUExecutionProvider"])
    for name in HEADS:
        values = session.run([f"{name}.centred"], {"waveform": windows})[0]
        assert np.abs(values.mean(axis=0)).max() < 2e-3 * np.abs(values).max()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_silence_has_no_direction_but_a_faint_sound_has_one(models: Path, cache: Cache, precision: str) -> None:
    embedder = load_embedder(models / f"{precision}.onnx")
    sound = draw_windows(cache, config()).test[:1]
    sound = (sound - sound.mean()) / sound.std()
    gain = 10 ** ((SILENCE_DBFS + 5) / 20)
    windows = np.concatenate([gain * sound, 0.3 * gain * sound + 0.1, 0 * sound])
    for rows in embedder.embed_heads(windows.astype(np.float32)).values():
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1.0, 0.0, 0.0], atol=1e-4)


def embedder_graph(path: Path) -> bytes:
    return read_model_file(path).graph


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("heads", [["sensitive"], ["events", "invariant"], ["other-teacher"]])
def test_heads_cut_out_of_the_graph_give_the_same_and_cost_less(
    models: Path, cache: Cache, precision: str, heads: list[str]
) -> None:
    path = models / f"{precision}.onnx"
    windows = draw_windows(cache, config()).test
    whole, some = load_embedder(path), load_embedder(path, heads)
    assert set(some.heads) == set(heads)
    everything = whole.embed_heads(windows)
    for name, rows in some.embed_heads(windows).items():
        np.testing.assert_allclose(rows, everything[name], rtol=0, atol=1e-6)
    assert some.background().shape[1] == some.size == sum(output.size for output in some.outputs)
    kept = onnx.load_from_string(read_model_file(path).graph_of(heads))
    onnx.checker.check_model(kept)
    n_convs = sum(node.op_type == "Conv" for node in kept.graph.node)
    n_all = sum(node.op_type == "Conv" for node in onnx.load_from_string(embedder_graph(path)).graph.node)
    branches = {{"events": "distilled", "other-teacher": "speaker"}.get(name, name) for name in heads}
    assert n_all - n_convs == 12 * (4 - len(branches))  # the convolutions of the branches that are not asked for


def test_an_export_of_some_heads_has_those_alone_and_agrees_with_the_whole(
    few_windows: None, models: Path, checkpoint: Path, cache: Cache, tmp_path: Path
) -> None:
    embedder = export_model(
        checkpoint, tmp_path / "one.onnx", corpus=cache.folder, precision="fp32", heads=["sensitive"]
    )
    assert embedder.heads == ("sensitive",)
    windows = draw_windows(cache, config()).test
    np.testing.assert_allclose(
        embedder.embed_heads(windows)["sensitive"],
        load_embedder(models / "fp32.onnx").embed_heads(windows)["sensitive"],
        rtol=0,
        atol=1e-4,
    )
    network = choose_heads(read_network(checkpoint).network, ["events"])
    assert [branch.name for branch in network.branches] == ["distilled"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_batch_is_dynamic_and_a_clip_does_not_depend_on_its_neighbours(
    models: Path, cache: Cache, precision: str
) -> None:
    windows = draw_windows(cache, config()).test[:40]
    embedder = load_embedder(models / f"{precision}.onnx")
    together = embedder.embed_heads(windows)
    alone = [embedder.embed_heads(window[None]) for window in windows]
    for name in HEADS:
        rows = np.concatenate([heads[name] for heads in alone])
        # a byte may fall to the other side of a border, as float sums differ in order with the batch
        assert np.sum(rows * together[name], axis=1).min() > (0.99999 if precision == "fp32" else 0.995)


def test_another_reader_finds_the_inputs_the_outputs_and_the_plain_keys(models: Path) -> None:
    session = ort.InferenceSession(models / "int8.onnx", providers=["CPUExecutionProvider"])
    (waveform,) = session.get_inputs()
    assert (waveform.name, waveform.type, waveform.shape) == ("waveform", "tensor(float)", ["batch", 4000])
    assert {output.name: output.shape[1] for output in session.get_outputs()} == {
        "invariant": 16,
        "sensitive": 16,
        "events": 6,
        "other-teacher": 6,
        "spectrum": config().frontend.n_mels - 1,
        "movement": 2 * config().frontend.n_mels + 1,
    }
    entries = session.get_modelmeta().custom_metadata_map
    assert entries["sample_rate"] == "16000"
    assert entries["clip_samples"] == "4000"
    assert json.loads(entries["earmark"])["schema"] == SCHEMA


def test_the_document_says_where_the_network_comes_from(models: Path, checkpoint: Path, cache: Cache) -> None:
    metadata = load_embedder(models / "int8.onnx").metadata
    cfg = config()
    assert (metadata.training_commit, metadata.training_steps) == ("abc123", 7)
    assert (metadata.config_sha256, metadata.corpus_sha256) == (cfg.sha256(), cache.sha256)
    assert metadata.quantisation == "int8"
    assert metadata.frontend.n_fft == cfg.frontend.n_fft
    assert "pitch" in " ".join(metadata.augmentations)
    assert "GPL" in metadata.data_licence
    assert metadata.outputs[HEADS.index("other-teacher")].description == "linear head of speaker"
    assert read_architecture(metadata) == (cfg.model, cfg.frontend)


def test_the_same_checkpoint_gives_the_same_model_and_another_precision_another(
    few_windows: None, models: Path, checkpoint: Path, cache: Cache, tmp_path: Path
) -> None:
    again = export_model(checkpoint, tmp_path / "again.onnx", corpus=cache.folder, precision="int8")
    first, other = load_embedder(models / "int8.onnx"), load_embedder(models / "fp32.onnx")
    assert again.metadata.model_id == first.metadata.model_id != other.metadata.model_id


def test_golden_vectors_are_met_where_they_were_made_and_missed_by_another_network(models: Path) -> None:
    fp32, int8 = (load_embedder(models / f"{name}.onnx") for name in ("fp32", "int8"))
    assert fp32.golden_error() < 1e-6
    assert int8.golden_error() < 1e-6
    fp32.golden = int8.golden
    assert fp32.golden_error() > 1e-4


def test_an_unknown_head_of_a_file_lists_those_there_are(models: Path) -> None:
    with pytest.raises(ModelFileError, match="has no head 'pitch': choose of invariant, sensitive, events"):
        load_embedder(models / "int8.onnx", ["invariant", "pitch"])


def test_a_head_that_a_teacher_taught_is_the_students_layer_on_the_distilled_embedding(
    models: Path, checkpoint: Path
) -> None:
    trained = read_network(checkpoint)
    head = next(head for head in trained.network.heads if head.name == "events")
    base = next(head for head in fold(trained.backbone).heads if head.name == "distilled")
    linear = trained.linear_heads["events"].linear
    pooled = np.random.default_rng(0).standard_normal(base.weight.shape[1])
    with torch.no_grad():
        expected = linear(torch.from_numpy(base.weight @ pooled + base.bias).float()).numpy()
    np.testing.assert_allclose(head.weight @ pooled + head.bias, expected, rtol=0, atol=1e-5)
