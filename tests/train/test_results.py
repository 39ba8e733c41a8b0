"""The paper's variants in small, smaller still: nine runs of two steps, evaluated and written up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.train.evaluate.made import write_tones
from tests.train.tiny import tiny_config
from train.checkpoint import read_checkpoint
from train.corpus.cache import Cache
from train.evaluate.tasks import TaskSpec
from train.results import table
from train.results.measured import mean_ranks, rank_correlation
from train.results.published import ACCURACY, DISTANCE, SETS
from train.results.runs import RUNS


def test_the_runs_differ_in_variant_tasks_and_loss_alone_and_have_embeddings_of_one_size() -> None:
    base = tiny_config()
    for run in RUNS:
        config = run.config(base)
        assert replace(config, model=base.model, loss=base.loss) == base
        assert config.model.trunk == "matched"
        n_heads = 1 if run.variant == "none" else 2
        assert n_heads * config.model.head_dim == 2 * base.model.head_dim
    assert len({run.folder for run in RUNS}) == len(RUNS) == 9


def test_the_published_tables_have_the_means_and_ranks_that_go_with_them() -> None:
    """Means to a hundredth, and the order of the ranks that the paper prints (its table of seven rows, SimCLR)."""
    means = {name: np.mean(row) for name, row in ACCURACY["simclr"].items()}
    printed = {"Cont Only": 39.68, "MT-Simple": 39.58, "MT-Split": 38.04, "MT-Bn": 41.97, "MT-Series": 41.57}
    for name, value in {**printed, "MT-Parallel": 41.97}.items():
        assert means[name] == pytest.approx(value, abs=0.006)
    assert np.mean(ACCURACY["simsiam"]["MT-Parallel"]) == pytest.approx(40.11, abs=0.006)
    assert all(len(row) == len(SETS) for rows in ACCURACY.values() for row in rows.values())
    ranks = mean_ranks(np.array(list(ACCURACY["simclr"].values())))
    assert [round(rank, 1) for rank in ranks] == pytest.approx([3.9, 7.0, 4.4, 5.8, 2.1, 2.9, 1.9], abs=0.051)
    averages = {"Cont Only": 31.50, "Pred Only": 41.34, "MT-Simple": 30.41}
    for (name, _), row in DISTANCE.items():
        if name in averages:
            assert np.mean(row) == pytest.approx(averages[name], abs=0.006)
    both = {head: np.mean(row) for (name, head), row in DISTANCE.items() if name == "MT-Parallel"}
    assert (both["invariant"], both["sensitive"]) == (pytest.approx(31.61, abs=0.006), pytest.approx(38.91, abs=0.006))


def test_the_document_keeps_what_people_wrote_around_the_tables() -> None:
    first = table.put_into("", "one\n")
    assert table.put_into(first, "one\n") == first
    around = f"# Ablations\n\nby hand\n\n{first}\nmore by hand\n"
    again = table.put_into(around, "two\n")
    assert "one" not in again
    assert again.startswith("# Ablations\n\nby hand\n\n<!--")
    assert again.index("by hand") < again.index("two") < again.index("more by hand")
    assert table.put_into(again, "two\n") == again
    assert table.put_into("by hand\n", "one\n") == f"by hand\n\n{first}"


def test_equal_scores_share_a_rank_and_orders_that_agree_correlate() -> None:
    assert mean_ranks(np.array([[3.0], [5.0], [3.0]])) == [2.5, 1.0, 2.5]
    assert rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 21.0]) == pytest.approx(1.0)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)


@pytest.mark.slow
def test_results_are_trained_evaluated_and_written_and_a_second_call_does_nothing_again(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tones = write_tones(tmp_path / "tones", 7, 8)
    small = replace(table.SETTINGS, tasks=TaskSpec(n_tasks=20, n_queries=2), probes=table.SETTINGS.probes)
    monkeypatch.setattr(table, "SETTINGS", small)
    base = tiny_config(run={"max_steps": 2})
    arguments = (base, cache.folder, [str(tones)], tmp_path / "out", tmp_path / "docs")
    table.make_results(*arguments, progress=False)
    text = (tmp_path / "docs" / "RESULTS.md").read_text()
    for run in RUNS:
        document = read_checkpoint(tmp_path / "out" / "runs" / run.folder / "last.safetensors")
        assert document["info"]["step"] == 2
        assert f"| {run.name} | " in text
    simsiam = text.split("## SimSiam")[1].split("Beside")[0]
    assert [line.split("|")[1].strip() for line in simsiam.splitlines() if line.startswith("| ")][2:] == [
        "Cont Only",
        "Pred Only",
        "MT-Parallel",
    ]
    assert "## What agrees with the paper and what does not" in text
    assert "| MT-Parallel, invariant |" in text
    assert (tmp_path / "docs" / "figures" / "results-gains.png").stat().st_size < 300_000

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    table.make_results(*arguments, progress=False)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert (tmp_path / "docs" / "RESULTS.md").read_text() == text
