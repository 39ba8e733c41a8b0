import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.train.tiny import tiny_config
from train import files
from train.checkpoint import (
    CheckpointInfo,
    compact_checkpoint,
    load_backbone,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)
from train.errors import CheckpointError, TrainingError
from train.network.system import PretrainingSystem
from train.tensor_file import write_document

INFO = CheckpointInfo(step=12, git_commit="abc", config_sha256="def", corpus_sha256="ghi", val_loss=1.5)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, PretrainingSystem]:
    torch.manual_seed(0)
    system = PretrainingSystem(tiny_config())
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, info=INFO, config=tiny_config(), model=system.state_dict(), training={})
    return path, system


def test_a_backbone_comes_back_as_it_was_with_where_it_is_from(saved: tuple[Path, PretrainingSystem]) -> None:
    path, system = saved
    backbone, config, info = load_backbone(path)
    assert info == INFO
    assert config == tiny_config()
    assert not backbone.training
    x = torch.randn(2, 1, 16, 12)
    for ours, theirs in zip(backbone(x), system.backbone.eval()(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_compact_checkpoint_is_half_the_size_and_nearly_the_same_network(
    saved: tuple[Path, PretrainingSystem], tmp_path: Path
) -> None:
    path, system = saved
    size = compact_checkpoint(path, tmp_path / "compact.safetensors")
    assert size == (tmp_path / "compact.safetensors").stat().st_size < 0.8 * path.stat().st_size
    backbone, _, info = load_backbone(tmp_path / "compact.safetensors")
    assert info == INFO
    assert next(backbone.parameters()).dtype == torch.float32
    x = torch.randn(2, 1, 16, 12)
    torch.testing.assert_close(backbone(x)[0], system.backbone.eval()(x)[0], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("keep", [0, 10, 1000, -40])
def test_a_damaged_checkpoint_is_refused(saved: tuple[Path, PretrainingSystem], keep: int) -> None:
    path, _ = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        load_backbone(path)


@pytest.mark.parametrize("place", [0, 100, 500])
def test_a_single_wrong_byte_among_the_weights_is_noticed(saved: tuple[Path, PretrainingSystem], place: int) -> None:
    path, system = saved
    data = bytearray(path.read_bytes())
    data[data.index(system.backbone.layer2[0].site1.conv.weight.detach().numpy().tobytes()) + place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"is damaged or no checkpoint \(its checksum differs\)"):
        read_checkpoint(path)


def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_checkpoint(tmp_path)
    save_file({"weights": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match=r"no checkpoint \(a safetensors file of something else\)"):
        read_checkpoint(tmp_path / "foreign.safetensors")


def test_a_file_that_cannot_be_read_is_told_from_a_damaged_one(
    saved: tuple[Path, PretrainingSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = saved

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"cannot read .*last.safetensors \(Permission denied\)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "earmark-checkpoint-1"}, "is not a checkpoint of this version"),
        ({"format": None}, "is not a checkpoint of this version"),
        ({"model": []}, "parts of it are missing"),
        ({"model": {"w": 1}}, "parts of it are missing"),
        ({"training": None}, "parts of it are missing"),
        ({"info": {"step": 1}}, "parts of it are missing"),
        ({"config": {"audio": {}}}, "settings that this version does not know"),
        ({"config": {"model": 3}}, "settings that this version does not know"),
    ],
)
def test_a_checkpoint_of_another_version_or_with_parts_missing_is_refused(
    saved: tuple[Path, PretrainingSystem], change: dict[str, object], message: str
) -> None:
    path, _ = saved
    write_document(path, {**read_checkpoint(path), **change})
    with pytest.raises(CheckpointError, match=message):
        load_backbone(path)


class Payload:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("kind", ["zip", "before zip", 2, 3, 4, 5])
def test_a_pickle_is_named_and_not_opened(tmp_path: Path, kind: str | int) -> None:
    path, trace = tmp_path / "last.safetensors", tmp_path / "trace"
    document = {"format": "earmark-checkpoint-1", "x": Payload(trace)}
    if isinstance(kind, int):
        path.write_bytes(pickle.dumps(document, protocol=kind))
    else:
        torch.save(document, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(CheckpointError, match=r"as torch.save and earlier versions write it, and is not opened"):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"width": 8}}, r"stem_conv.weight is \(4, 1, 7, 7\), not \(8, 1, 7, 7\)"),
        ({"model": {"variant": "bn"}}, "it has backbone.layer1.0.site1.parallel.0.weight"),
        ({"loss": {"contrastive": "simsiam"}}, "is of another architecture"),
    ],
)
def test_weights_of_another_architecture_are_refused(
    saved: tuple[Path, PretrainingSystem], sections: dict[str, dict[str, object]], message: str
) -> None:
    path, _ = saved
    other = PretrainingSystem(tiny_config(**sections))
    with pytest.raises(CheckpointError, match=message):
        load_weights(other, read_checkpoint(path)["model"], path)


def test_a_full_disk_leaves_the_last_good_checkpoint(
    saved: tuple[Path, PretrainingSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, system = saved
    before = path.read_bytes()

    def full(where: Path, data: bytes) -> int:
        with where.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*free some space and go on with --resume"):
        save_checkpoint(path, info=INFO, config=tiny_config(), model=system.state_dict(), training={})
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["last.safetensors"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "file.txt"
    seen = []

    def write(aside: Path) -> None:
        aside.write_text("new")
        seen.append(path.read_text() if path.exists() else None)

    files.replace_file(path, write)
    files.replace_file(path, write)
    assert seen == [None, "new"]
