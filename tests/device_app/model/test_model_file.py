"""A model file says what it is, and one that is not whole or not ours is refused with a sentence."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_app.errors import ModelFileError
from device_app.model.embedder import load_embedder
from device_app.model.model_file import (
    SCHEMA,
    BackgroundBank,
    GoldenVectors,
    ModelMetadata,
    OutputMetadata,
    read_model_file,
    with_metadata,
)
from device_app.model.onnx_bytes import (
    EncodingError,
    keep_outputs,
    read_fields,
    read_metadata,
    write_field,
    write_metadata,
)
from tests.device_app.tiny_model import N_SAMPLES, metadata_of, parts, tiny_graph, write_tiny_model

GRAPH = tiny_graph()
PARTS = parts(GRAPH)
CONTENT = with_metadata(GRAPH, *PARTS)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "model.onnx"


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        load_embedder(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = read_model_file(write_tiny_model(tmp_path / "model.onnx"))
    metadata, golden, bank = PARTS
    assert file.metadata == metadata
    assert file.graph == GRAPH
    np.testing.assert_array_equal(file.golden.waveform, golden.waveform)
    for name in ("what", "how"):
        np.testing.assert_array_equal(file.golden.embeddings[name], golden.embeddings[name])
        np.testing.assert_array_equal(file.bank.embeddings[name], bank.embeddings[name])
    assert load_embedder(tmp_path / "model.onnx").golden_error() == 0.0


def test_other_readers_see_one_onnx_model_with_its_metadata(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "model.onnx")
    onnx.checker.check_model(onnx.load(path))
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    entries = session.get_modelmeta().custom_metadata_map
    assert ModelMetadata.from_json(entries["earmark"]) == PARTS[0]
    assert (entries["sample_rate"], entries["clip_samples"]) == ("1600", "160")


@given(
    name=st.text(min_size=1),
    size=st.integers(1, 4096),
    notes=st.dictionaries(st.text(), st.text(), max_size=3),
    f_max=st.floats(0, 1e5),
)
def test_any_document_comes_back_from_json(name: str, size: int, notes: dict[str, str], f_max: float) -> None:
    metadata = metadata_of(b"graph")
    metadata = dataclasses.replace(
        metadata,
        outputs=(OutputMetadata(name=name, size=size, description="any"),),
        notes=notes,
        frontend=dataclasses.replace(metadata.frontend, f_max=f_max),
    )
    assert ModelMetadata.from_json(metadata.to_json()) == metadata


def test_entries_of_a_later_minor_version_are_passed_over() -> None:
    raw = json.loads(PARTS[0].to_json())
    raw["colour"] = "blue"
    raw["frontend"]["shape"] = "round"
    assert ModelMetadata.from_json(json.dumps(raw)) == PARTS[0]


def test_a_newer_schema_says_to_upgrade(scratch: Path) -> None:
    newer = dataclasses.replace(PARTS[0], schema=SCHEMA + 1)
    message = refusal(scratch, with_metadata(GRAPH, newer, *PARTS[1:]))
    assert message.endswith(f"uses schema {SCHEMA + 1}, this program reads up to {SCHEMA}: upgrade earmark")


def test_an_onnx_model_without_our_metadata_is_not_ours(scratch: Path) -> None:
    assert "but not one of Earmark's" in refusal(scratch, GRAPH)


@pytest.mark.parametrize("missing", ["earmark", "earmark_golden", "earmark_bank", "earmark_sha256"])
def test_each_entry_is_needed(scratch: Path, missing: str) -> None:
    entries = read_metadata(CONTENT)
    del entries[missing]
    assert f"no metadata entry '{missing}'" in refusal(scratch, GRAPH + write_metadata(entries))


@pytest.mark.parametrize("name", ["sample_rate", "outputs", "frontend", "graph_sha256", "schema"])
def test_a_document_that_lacks_something_is_incomplete(scratch: Path, name: str) -> None:
    raw = json.loads(PARTS[0].to_json())
    del raw[name]
    with pytest.raises(ModelFileError, match="description is incomplete"):
        ModelMetadata.from_json(json.dumps(raw))


@given(keep=st.integers(0, len(CONTENT) - 1))
@settings(max_examples=60, deadline=None)
def test_a_truncated_file_is_refused_wherever_it_breaks_off(scratch: Path, keep: int) -> None:
    refusal(scratch, CONTENT[:keep])


@given(at=st.integers(0, len(CONTENT) - 1), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_file_with_one_bit_altered_is_refused_wherever_it_is(scratch: Path, at: int, bit: int) -> None:
    altered = bytearray(CONTENT)
    altered[at] ^= 1 << bit
    refusal(scratch, bytes(altered))


@given(tail=st.binary(min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_file_with_something_appended_is_refused(scratch: Path, tail: bytes) -> None:
    refusal(scratch, CONTENT + tail)


def test_another_graph_or_another_document_under_the_same_seal_is_refused(scratch: Path) -> None:
    other = tiny_graph(seed=1)
    assert "was altered or damaged" in refusal(scratch, other + CONTENT[len(GRAPH) :])
    entries = read_metadata(CONTENT)
    entries["earmark"] = entries["earmark"].replace("Apache-2.0", "Apache-9.9")
    assert "was altered or damaged" in refusal(scratch, GRAPH + write_metadata(entries))
    for added in ({"sample_rate": "8000"}, {"zzz": "an entry of nobody's"}):  # other readers take the last of a name
        assert "was altered or damaged" in refusal(scratch, CONTENT + write_metadata(added))


def test_a_missing_file_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read the model .*none\.onnx: No such file .*--model"):
        load_embedder(tmp_path / "none.onnx")


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_bytes_that_are_no_model_are_refused(scratch: Path, content: bytes) -> None:
    refusal(scratch, content)


def test_a_head_alone_is_what_it_is_beside_the_others(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "model.onnx")
    windows = np.random.default_rng(3).standard_normal((4, N_SAMPLES)).astype(np.float32)
    whole, one = load_embedder(path), load_embedder(path, ["how"])
    np.testing.assert_array_equal(one.embed_heads(windows)["how"], whole.embed_heads(windows)["how"])
    assert one.golden_error() == 0.0
    assert one.size == 3
    assert one.background().shape == (100, 3)
    kept = onnx.load_from_string(keep_outputs(GRAPH, ["how"]))
    assert [tensor.name for tensor in kept.graph.initializer] == ["how.weight"]


@pytest.mark.parametrize("heads", [["why"], ["what", "why"], []])
def test_an_unknown_head_lists_those_there_are(tmp_path: Path, heads: list[str]) -> None:
    with pytest.raises(ModelFileError, match="choose of what, how"):
        load_embedder(write_tiny_model(tmp_path / "model.onnx"), heads)


@given(st.integers(1, 15), st.binary(max_size=400))
def test_a_written_field_is_read_back(number: int, content: bytes) -> None:
    (field,) = read_fields(memoryview(write_field(number, content)))
    assert (field.number, bytes(field.content)) == (number, content)


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_an_error(content: bytes) -> None:
    try:
        joined = b"".join(bytes(field.raw) for field in read_fields(memoryview(content)))
    except EncodingError:
        return
    assert joined == content


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"waveform": "!", "outputs": {"a": "!"}}', '{"n_windows": 3}', "null"]
)
def test_damaged_vectors_and_banks_are_a_sentence(text: str) -> None:
    with pytest.raises(ModelFileError, match="golden vectors are damaged"):
        GoldenVectors.from_json(text)
    with pytest.raises(ModelFileError, match="background bank is damaged"):
        BackgroundBank.from_json(text)
