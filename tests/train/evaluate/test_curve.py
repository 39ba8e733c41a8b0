"""The command that draws a run, on a tiny run and made-up tones."""

import json
from pathlib import Path

import pytest

from tests.train.evaluate.made import write_tones
from tests.train.tiny import tiny_config
from train.__main__ import main
from train.corpus.cache import build_cache
from train.run.loop import Trainer


def test_a_run_is_drawn_with_the_accuracy_of_each_set_of_weights_that_it_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tones = write_tones(tmp_path / "tones", 6, 7)
    cache = build_cache([tones], tmp_path / "cache", 16_000, progress=False)
    config = tiny_config(run={"max_steps": 4, "keep_every": 2, "val_every": 2, "val_batches": 1})
    Trainer(config, cache, tmp_path / "run", "cpu", show_progress=False).run()
    figure = tmp_path / "docs" / "curve.png"
    arguments = ["--sets", str(tones), "--figure", str(figure), "--tasks", "30", "--cache", str(tmp_path / "evaluated")]
    capsys.readouterr()
    assert main(["curve", str(tmp_path / "run"), *arguments]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == json.loads(figure.with_suffix(".json").read_text())
    assert {(row["step"], row["head"]) for row in rows} == {
        (step, head) for step in (2, 4) for head in ("invariant", "sensitive", "all")
    }
    assert all(0 <= row["accuracy"] <= 100 for row in rows)


def test_a_run_that_kept_nothing_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tones = write_tones(tmp_path / "tones", 6, 7)
    assert main(["curve", str(tmp_path), "--sets", str(tones), "--figure", str(tmp_path / "x.png")]) == 1
    assert "train with run.keep_every above 0" in capsys.readouterr().err
