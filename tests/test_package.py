import csv
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[zipfile.ZipInfo]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with zipfile.ZipFile(next(folder.glob("earmark-*.whl"))) as archive:
        return archive.infolist()


def test_the_wheel_holds_the_device_the_model_and_the_demo_and_nothing_of_training(
    wheel: list[zipfile.ZipInfo],
) -> None:
    names = {entry.filename for entry in wheel}
    assert {entry.split("/")[0] for entry in names if ".dist-info/" not in entry} == {"device_app"}
    assert {"device_app/data/model.onnx", "device_app/data/demo/CREDITS.csv", "device_app/py.typed"} <= names


def test_the_demo_takes_less_than_three_megabytes(wheel: list[zipfile.ZipInfo]) -> None:
    assert 0 < sum(entry.file_size for entry in wheel if "/data/demo/" in entry.filename) < 3_000_000


def test_a_plain_install_asks_for_nothing_that_only_training_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    plain = " ".join(project["dependencies"])
    for name in ("torch", "onnx>", "lightning", "librosa"):
        assert name not in plain
        assert name != "torch" or any(entry.startswith(name) for entry in project["optional-dependencies"]["train"])


def test_every_bundled_clip_is_credited_under_a_licence_that_allows_it() -> None:

    folder = ROOT / "device_app" / "data" / "demo"
    with (folder / "CREDITS.csv").open(encoding="utf-8") as file:
        credited = {row["file"]: row for row in csv.DictReader(file)}
    assert set(credited) == {path.relative_to(folder).as_posix() for path in folder.rglob("*.ogg")}
    for row in credited.values():
        assert row["licence"] in {"CC0 1.0", "CC BY 3.0"}
        assert row["author"]
        assert row["source"].startswith("http")
