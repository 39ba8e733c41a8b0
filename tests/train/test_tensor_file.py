import json
import math
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from train.errors import TrainingError
from train.tensor_file import read_document, write_document

ROOT = Path(__file__).resolve().parents[2]

DOCUMENT: dict[str, Any] = {
    "step": 3,
    "model": {"w.x": torch.arange(3), "b": torch.ones(2)},
    "training": {"state": {0: {"m": torch.zeros(2, 2)}}},
}


def bits(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def header(path: Path) -> dict[str, Any]:
    """By the format's description: 8 bytes of length, and so many of JSON."""
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def raw(path: Path, about: str, tensor: str = "model/w") -> Path:
    """A safetensors file of other software, with a text of its own where ours has the document."""
    save_file({tensor: torch.ones(2)}, path, {"earmark": about})
    return path


def test_a_document_comes_back_with_the_bits_it_had(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    tensors = {
        "channels.last": weight.to(memory_format=torch.channels_last),
        "a_view": weight[1:, :, 0],
        "the same": weight,
        "and_again": weight,
        "odd": torch.tensor([math.nan, -0.0, math.inf, 1e-45]),
        "none": torch.zeros(0, 3),
        "count": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        **{str(dtype): weight.to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int8)},
    }
    plain = {
        "step": 3,
        "text": "é\n\"'",
        "loss": 0.1 + 0.2,
        "best": math.inf,
        "no": None,
        "list": [1, [2.5]],
        "none": {},
    }
    path = tmp_path / "a.safetensors"
    write_document(path, {**plain, "deep": {"er": {0: tensors, 1: {"x": 1}}}})
    got = read_document(path)
    back = got.pop("deep")["er"]
    assert got == plain
    assert back["1"] == {"x": 1}
    assert {name: bits(value) for name, value in back["0"].items()} == {name: bits(v) for name, v in tensors.items()}


def test_other_software_finds_the_tensors_and_one_json_document(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_document(path, DOCUMENT)
    assert {name: value.tolist() for name, value in load_file(path).items()} == {
        "model/w.x": [0, 1, 2],
        "model/b": [1.0, 1.0],
        "training/state/0/m": [[0.0, 0.0], [0.0, 0.0]],
    }
    (text,) = header(path)["__metadata__"].values()
    about = json.loads(text)
    assert len(about.pop("sha256")) == 64
    assert about == {"step": 3, "model": {}, "training": {"state": {"0": {}}}}


def test_the_same_document_gives_the_same_file(tmp_path: Path) -> None:
    for name in "abcd":
        write_document(tmp_path / name, DOCUMENT)
    assert len({(tmp_path / name).read_bytes() for name in "abcd"}) == 1


def test_a_wrong_byte_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_document(path, DOCUMENT)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with pytest.raises((ValueError, OSError)):
            read_document(path)


def test_a_changed_bit_gives_an_error_or_the_same_document(tmp_path: Path) -> None:
    """A space of JSON that has become another is the latter."""
    path = tmp_path / "a.safetensors"
    write_document(path, DOCUMENT)
    whole, same = path.read_bytes(), str(read_document(path))
    rng = random.Random(0)
    for _ in range(1000):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with suppress(ValueError, OSError):
            assert str(read_document(path)) == same


def test_a_file_cut_short_or_gone_on_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_document(path, DOCUMENT)
    whole = path.read_bytes()
    for data in [*(whole[:n] for n in range(len(whole))), whole + b"\0", whole + whole]:
        path.write_bytes(data)
        with pytest.raises((ValueError, OSError)):
            read_document(path)


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 100_000_001])
def test_a_header_that_claims_to_be_huge_is_refused_unread(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b'{"a":1}')
    with pytest.raises(ValueError, match=r"no whole safetensors file: (header too large|invalid header length)"):
        read_document(path)


def test_a_tensor_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for shape, end in (([2**40], 2**42), ([2**62, 2**62], 8), ([2], 2**63), ([3], 8), ([2], 4), ([-2], 8)):
        text = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
        with pytest.raises(ValueError, match="no whole safetensors file"):
            read_document(path)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "nested without end"),
        ('{"sha256": ' + "9" * 5000 + "}", "digits"),
        ("[]", "do not fit together"),
        ("3", "do not fit together"),
        ("{}", "do not fit together"),
        ('{"sha256": "0"}', "checksum"),
    ],
)
def test_metadata_of_another_kind_are_refused(tmp_path: Path, about: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_document(raw(tmp_path / "a.safetensors", about))


def test_a_tensor_without_a_place_in_the_document_is_refused(tmp_path: Path) -> None:
    for tensor, document in (("model/w", {}), ("model/w", {"model": 3}), ("a/b/w", {"a": [1]}), ("/w", {})):
        path = raw(tmp_path / "a.safetensors", "", tensor)
        checksum = checksum_of(document, load_file(path))
        with pytest.raises(ValueError, match="do not fit together"):
            read_document(raw(path, json.dumps({"sha256": checksum, **document}), tensor))


def checksum_of(document: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    from train.tensor_file import _digest

    return _digest(document, tensors)


def test_a_safetensors_file_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="a safetensors file of something else"):
        read_document(tmp_path / "a.safetensors")


def test_a_disk_that_fills_up_keeps_what_was_there(tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        path = tmp_path / "a.safetensors"
        write_document(path, DOCUMENT)
        before = path.read_bytes()
        with pytest.raises(TrainingError, match=r"No space left on device.*free some space and go on with --resume"):
            write_document(path, {"model": {"w": torch.ones(100_000)}})
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


WRITER = """
import sys
from pathlib import Path
import torch
from train.tensor_file import write_document
for step in range(10**6):
    write_document(Path(sys.argv[1]), {"step": step, "model": {"w": torch.full((2_000_000,), float(step))}})
    print(step, flush=True)
"""


def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    rng = random.Random(0)
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            while writer.stdout.readline() != "2\n":
                assert writer.poll() is None
            time.sleep(rng.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
            last = int(["2", *writer.stdout.read().split()][-1])
        document = read_document(path)
        assert document["step"] in (last, last + 1)
        assert document["model"]["w"].eq(document["step"]).all()
