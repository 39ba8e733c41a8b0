"""``python -m export``: what each command prints, and one sentence for each fault a person can cause."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from device_app.model.embedder import load_embedder
from device_app.model.model_file import read_model_file
from export import __main__ as command_line
from export.bench import stopwatch
from export.bench.aarch64 import variations
from export.bench.bench_model import bench_markdown, bench_model
from export.bench.storage_bench import APART, FOLDED_TWICE, STORED_ONCE
from export.graph.whitening import OTHER_POWER, POWERS
from export.proof import parity, whitening_table
from export.proof.few_shot_sets import ALL_HEADS
from tests.export.conftest import HEADS, LEAST_COSINE, OTHER_LEAST_COSINE
from train.corpus.cache import Cache


def fault(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert command_line.main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in captured.err
    return line


def test_an_export_prints_what_it_wrote(
    few_windows: None, checkpoint: Path, cache: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "model.onnx"
    arguments = [checkpoint, "-o", out, "--corpus", cache.folder, "--precision", "fp32", "--heads", "events,sensitive"]
    assert command_line.main([str(argument) for argument in arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bytes"] == out.stat().st_size
    assert result["heads"] == ["sensitive", "events"]
    assert result["model_id"] == load_embedder(out).metadata.model_id
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]


def test_a_checkpoint_that_is_not_there_or_none_is_a_sentence(
    cache: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.onnx"
    assert "there is no checkpoint" in fault(capsys, tmp_path / "none.safetensors", "-o", out, "--corpus", cache.folder)
    (tmp_path / "text.safetensors").write_text("not a checkpoint")
    assert "damaged or no checkpoint" in fault(
        capsys, tmp_path / "text.safetensors", "-o", out, "--corpus", cache.folder
    )
    assert not out.exists()


def test_an_unknown_head_lists_the_right_ones(
    checkpoint: Path, cache: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [checkpoint, "-o", tmp_path / "model.onnx", "--corpus", cache.folder]
    message = fault(capsys, *arguments, "--heads", "invariant,pitch")
    assert message == f"error: the checkpoint has no head pitch: choose of {', '.join(HEADS)}"
    assert "(none named)" not in message


def test_a_corpus_that_is_not_there_is_a_sentence(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fault(capsys, checkpoint, "-o", tmp_path / "model.onnx", "--corpus", tmp_path / "none")
    assert "none" in message


def test_an_output_that_cannot_be_written_is_a_sentence(
    few_windows: None, checkpoint: Path, cache: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "model.onnx"
    message = fault(capsys, checkpoint, "-o", out, "--corpus", cache.folder, "--precision", "fp32")
    assert "cannot write to" in message
    assert message.endswith("choose another folder or free space")


def test_a_corpus_other_than_that_of_training_is_told_and_used(
    few_windows: None, models: Path, checkpoint: Path, cache: Cache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "cache"
    shutil.copytree(cache.folder, other)
    index = next(path for path in other.glob("*.json") if cache.sha256 in path.read_text())
    index.write_text(index.read_text().replace(cache.sha256, "0" * len(cache.sha256)))
    arguments = [checkpoint, "-o", tmp_path / "model.onnx", "--corpus", other, "--precision", "fp32"]
    assert command_line.main([str(argument) for argument in arguments]) == 0
    assert "is not the corpus that" in caplog.text


@pytest.fixture(scope="module")
def verified(
    few_windows: None,
    models: Path,
    checkpoint: Path,
    cache: Cache,
    fewshot: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A model file with its report beside it."""
    path = tmp_path_factory.mktemp("verified") / "model.onnx"
    shutil.copy(models / "int8.onnx", path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "race", lambda programs: stopwatch.race(programs, n_rounds=2, n_calls=1))
        arguments = [path, "--checkpoint", checkpoint, "--corpus", cache.folder, "--fewshot", fewshot]
        assert command_line.main(["verify", *map(str, arguments), "--episodes", "20"]) == 0
    return path


def test_the_report_compares_torch_fp32_and_the_file(verified: Path) -> None:
    report = json.loads(verified.with_suffix(".parity.json").read_text())
    assert report["model_id"] == load_embedder(verified).metadata.model_id
    assert list(report["heads"]) == HEADS
    for name in HEADS:
        assert report["cosine"][name]["torch to fp32"]["worst"] > 0.9999
        assert report["cosine"][name]["fp32 to file"]["mean"] > LEAST_COSINE.get(name, OTHER_LEAST_COSINE)
        nothing_rounded = name in ("spectrum", "movement")
        assert report["cosine"][name]["fp32 to file"]["mean"] < 1.0 or nothing_rounded
    rows = report["few_shot"]
    assert {(row["set"], row["k_shot"]) for row in rows} == {("pitches", 1), ("pitches", 5)}
    assert {row["head"] for row in rows} == {*HEADS, ALL_HEADS}
    assert all(abs(row["torch"] - row["fp32"]) < 2.0 for row in rows)
    (decisions,) = report["decisions"]
    assert decisions["n_windows"] > 0
    assert 0.5 < decisions["alike"] <= 1.0
    assert report["size_bytes"]["file"] == verified.stat().st_size
    verdict = report["verdict"]
    assert verdict["largest_few_shot_drop"] == max(row["fp32"] - row["file"] for row in rows)
    text = verified.with_suffix(".parity.md").read_text()
    assert f"| {rows[0]['set']}, 5-way 1-shot, invariant | {rows[0]['torch']:.1f} |" in text


def test_a_report_for_another_checkpoint_is_refused(
    verified: Path, checkpoint: Path, cache: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from train.checkpoint import CheckpointInfo, checkpoint_config, read_checkpoint, save_checkpoint

    document = read_checkpoint(checkpoint)
    info = CheckpointInfo(**{**document["info"], "step": 8})
    config = checkpoint_config(document, checkpoint)
    save_checkpoint(tmp_path / "other.safetensors", info=info, config=config, model=document["model"], training={})
    arguments = [verified, "--checkpoint", tmp_path / "other.safetensors", "--corpus", cache.folder]
    assert "was not made from" in fault(capsys, "verify", *arguments)


def test_sets_that_are_not_there_are_a_sentence(
    few_windows: None,
    verified: Path,
    checkpoint: Path,
    cache: Cache,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = shutil.copy(verified, tmp_path / "model.onnx")
    arguments = [copy, "--checkpoint", checkpoint, "--corpus", cache.folder, "--fewshot", tmp_path]
    assert "holds no labelled set" in fault(capsys, "verify", *arguments)


def test_the_card_has_the_reports_numbers_and_says_what_it_was_trained_on(verified: Path, tmp_path: Path) -> None:
    out = tmp_path / "MODEL_CARD.md"
    assert command_line.main(["card", str(verified), "-o", str(out)]) == 0
    card = out.read_text()
    report = json.loads(verified.with_suffix(".parity.json").read_text())
    assert f"`{report['model_id']}`" in card
    assert f"{report['verdict']['least_mean_cosine']:.5f}" in card
    for row in report["few_shot"]:
        assert (
            f"{row['k_shot']}-shot, {row['head']} | {row['torch']:.1f} | {row['fp32']:.1f} | {row['file']:.1f}" in card
        )
    for phrase in (
        "Much of it is under copyleft licences",
        "GPL-2.0",
        "CC BY-SA",
        "GFDL",
        "CC0",
        "Not for:",
        "## Limits",
    ):
        assert phrase in card
    assert "- `mn04`: EfficientAT" in card
    assert "- `other-teacher`" in card


def test_a_card_needs_the_report_of_the_same_model(
    verified: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(models / "fp32.onnx", path)
    assert "there is no parity report" in fault(capsys, "card", path, "-o", tmp_path / "card.md")
    shutil.copy(verified.with_suffix(".parity.json"), path.with_suffix(".parity.json"))
    assert "is of model" in fault(capsys, "card", path, "-o", tmp_path / "card.md")
    report = {"model_id": load_embedder(path).metadata.model_id}
    path.with_suffix(".parity.json").write_text(json.dumps(report))
    assert "is of an earlier version or damaged" in fault(capsys, "card", path, "-o", tmp_path / "card.md")
    assert not (tmp_path / "card.md").exists()


def test_the_whitening_table_has_every_head_and_marks_the_powers_that_are_taken(
    few_windows: None,
    checkpoint: Path,
    cache: Cache,
    fewshot: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["whitening", str(checkpoint), "--corpus", str(cache.folder), "--fewshot", str(fewshot)]
    assert "has none of esc10, fsdd" in fault(capsys, *arguments)
    monkeypatch.setattr(whitening_table, "CHOSEN_BY", ("pitches",))
    assert command_line.main([*arguments, "--episodes", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {
        cells[1]: cells for cells in ([cell.strip() for cell in line.split("|")] for line in lines) if len(cells) > 2
    }
    assert list(table)[2:] == [*HEADS, ALL_HEADS]
    for head in HEADS:
        cells = dict(zip(table["head"], table[head], strict=True))
        assert cells[f"{POWERS.get(head, OTHER_POWER):g}"] == cells["with the powers taken"]


def test_the_benchmark_times_precisions_heads_and_ways_of_storage(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("bench.bench_model", "bench.storage_bench", "graph.edge_layers"):
        monkeypatch.setattr(f"export.{module}.race", lambda programs: stopwatch.race(programs, n_rounds=2, n_calls=1))
    result = bench_model(models / "int8.onnx", None)
    assert set(result["ratios"]) == {f"all heads ({len(HEADS)})", "invariant and sensitive"}
    assert all(times["fastest_ms"] > 0 for times in result["times"].values())
    storage = result["storage"]
    assert storage[STORED_ONCE]["bytes"] < storage[FOLDED_TWICE]["bytes"]
    assert set(storage) == {STORED_ONCE, FOLDED_TWICE, APART}
    assert result["start, all heads"]["memory_mb"] > 0
    text = bench_markdown(result)
    assert "| invariant and sensitive |" in text
    assert "shared trunk, adapters run" in text


def test_a_network_to_compare_with_that_is_not_there_is_a_sentence(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fault(capsys, "bench", models / "int8.onnx", "--against", tmp_path / "none.onnx")
    assert message.endswith("leave out --against, or fetch it")


def test_emulation_without_the_emulator_names_the_package(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    message = fault(capsys, "aarch64", models / "int8.onnx", "--userland", tmp_path / "arm")
    assert message == "error: qemu-aarch64-static is missing: install the Debian package qemu-user-static"


def test_what_the_emulated_device_is_asked_is_the_same_each_time_and_ends_in_silence(models: Path) -> None:
    embedder = load_embedder(models / "int8.onnx")
    clips = variations(embedder)
    assert clips.shape == (24, embedder.metadata.clip_samples)
    assert clips.dtype == np.float32
    np.testing.assert_array_equal(clips, variations(embedder))
    assert not clips[-1].any()


def test_a_file_of_an_earlier_version_that_does_not_name_its_shape_is_a_sentence(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import dataclasses

    from device_app.model.model_file import with_metadata

    file = read_model_file(models / "int8.onnx")
    path = tmp_path / "model.onnx"
    metadata = dataclasses.replace(file.metadata, notes={})
    path.write_bytes(with_metadata(file.graph, metadata, file.golden, file.bank))
    assert "export it again" in fault(capsys, "bench", path)
