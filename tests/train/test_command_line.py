import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.train.run.test_processes import _toml
from tests.train.tiny import RATE, tiny_config
from train.__main__ import main
from train.checkpoint import load_backbone
from train.corpus.cache import Cache

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(_toml(tiny_config(run={"max_steps": 2}).to_dict()))
    return path


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_help_comes_without_loading_torch() -> None:
    code = "import sys, train.__main__ as m; m.build_parser().format_help(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_cache_pretrain_compact_adapt_and_evaluate_follow_one_another(
    audio: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, run = tmp_path / "cache", tmp_path / "run"
    assert main(["cache", "--audio", str(audio), "--out", str(cache), "-q"]) == 0
    assert result(capsys)["clips"] == 24
    pretrain = ["pretrain", "--config", str(config), "--cache", str(cache), "--out", str(run), "--device", "cpu", "-q"]
    assert main(pretrain) == 0
    assert result(capsys)["step"] == 2
    assert main(["compact", str(run / "last.safetensors"), "--out", str(tmp_path / "compact.safetensors")]) == 0
    assert result(capsys)["bytes"] == (tmp_path / "compact.safetensors").stat().st_size

    changes = tmp_path / "changes.toml"
    changes.write_text("[run]\nmax_steps = 3\nbatch_size = 64\n")
    adapt = [
        "adapt",
        "--from",
        str(tmp_path / "compact.safetensors"),
        "--audio",
        str(audio),
        "--out",
        str(tmp_path / "own"),
    ]
    assert main([*adapt, "--config", str(changes), "--device", "cpu", "-q"]) == 0
    assert result(capsys)["step"] == 3
    _, adapted, _ = load_backbone(tmp_path / "own" / "last.safetensors")
    assert adapted.run.batch_size == 24  # not 64: there are 24 clips
    assert main([*adapt, "--config", str(changes), "--device", "cpu", "-q"]) == 1
    assert "holds a run already" in capsys.readouterr().err

    evaluate = [
        "evaluate",
        str(tmp_path / "own" / "last.safetensors"),
        "--sets",
        str(audio),
        "--n-way",
        "3",
        "--tasks",
        "40",
    ]
    folders = ["--out", str(tmp_path / "report"), "--cache", str(tmp_path / "evaluation")]
    assert main([*evaluate, *folders, "--k-shots", "1", "--probes", "prototype", "--controls", "none", "-q"]) == 0
    *lines, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["head"] for line in lines] == ["invariant", "sensitive", "all"]
    assert all(30 < line["accuracy"] <= 100 for line in lines)
    assert Path(last["report"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cache", "--audio", "{tmp}/nowhere", "--out", "{tmp}/c"], "is not a folder"),
        (["cache", "--audio", "{tmp}/empty", "--out", "{tmp}/c"], "no audio in"),
        (["cache", "--audio", "{tmp}/zeros", "--out", "{tmp}/c"], "none of the 2 audio files"),
        (
            ["pretrain", "--config", "{tmp}/none.toml", "--cache", "{tmp}/c", "--out", "{tmp}/r"],
            "cannot read the config",
        ),
        (
            ["pretrain", "--config", "{tmp}/tiny.toml", "--cache", "{tmp}/c", "--out", "{tmp}/r"],
            "holds no complete cache",
        ),
        (
            ["adapt", "--from", "{tmp}/none.safetensors", "--audio", "{tmp}/zeros", "--out", "{tmp}/r"],
            "there is no checkpoint",
        ),
        (
            ["adapt", "--from", "{tmp}/bad.safetensors", "--audio", "{tmp}/zeros", "--out", "{tmp}/r"],
            "is damaged or no checkpoint",
        ),
        (["evaluate", "{tmp}/bad.safetensors", "--sets", "{tmp}/set"], "is damaged or no checkpoint"),
        (["evaluate", "{tmp}/old.pt", "--sets", "{tmp}/set"], "is a pickle or a zip file"),
        (["compact", "{tmp}/none.safetensors", "--out", "{tmp}/c.safetensors"], "there is no checkpoint"),
    ],
)
def test_what_a_person_can_do_wrong_ends_in_one_sentence_and_status_1(
    arguments: list[str], message: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "zeros").mkdir()
    soundfile.write(tmp_path / "zeros" / "a.wav", np.zeros(800), RATE)
    soundfile.write(tmp_path / "zeros" / "b.wav", np.full(800, np.nan), RATE, subtype="FLOAT")
    (tmp_path / "set" / "class").mkdir(parents=True)
    soundfile.write(tmp_path / "set" / "class" / "a.wav", np.full(800, 0.1), RATE)
    (tmp_path / "bad.safetensors").write_bytes(b"PK nonsense")
    (tmp_path / "old.pt").write_bytes(b"PK\x03\x04 from torch.save")
    before = sorted(tmp_path.rglob("*.safetensors"))
    assert main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments]) == 1
    output = capsys.readouterr()
    errors = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in output.err
    assert not output.out
    assert sorted(tmp_path.rglob("*.safetensors")) == before


def test_a_wrong_flag_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["pretrain", "--confg", "x"])
    assert caught.value.code == 2


def test_sigterm_saves_and_exits_0(cache: Cache, tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(_toml(tiny_config(run={"max_steps": 100_000}).to_dict()))
    command = [sys.executable, "-m", "train", "pretrain", "--config", str(path), "--cache", str(cache.folder)]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run"), "--device", "cpu", "-q"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    for _ in range(600):
        if metrics.is_file() and metrics.read_text().count("\n") >= 3:
            break

        time.sleep(0.1)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    steps = json.loads(out)["step"]
    assert 3 <= steps < 100_000
    assert load_backbone(tmp_path / "run" / "last.safetensors")[2].step == steps == metrics.read_text().count("\n")
