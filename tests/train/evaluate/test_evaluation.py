"""The command, end to end, on made-up tones and a control or a tiny network."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.train.evaluate.made import write_tones
from tests.train.evaluate.test_encoders import write_checkpoint
from train.__main__ import main
from train.evaluate.embedding import embed_set
from train.evaluate.encoders import open_encoder
from train.evaluate.probing.probes import TaskScores, unit_length
from train.evaluate.sets import LabelledSet, read_folder
from train.evaluate.tasks import Tasks, TaskSpec, sample_tasks


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tones(tmp_path_factory.mktemp("sets") / "tones", 7, 8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "last.safetensors")[0]


def run(tmp_path: Path, subject: Path | str, tones: Path, *more: str, out: str = "report") -> tuple[int, Path]:
    arguments = ["evaluate", str(subject), "--sets", str(tones), "--out", str(tmp_path / out), "-q"]
    folders = ["--cache", str(tmp_path / "cache")]
    return main([*arguments, *folders, "--tasks", "60", "--n-queries", "3", *more]), tmp_path / out


def pooled_scores(subject: str, labelled: LabelledSet, tasks: Tasks) -> TaskScores:
    """A plug-in that knows the answers to queries, and takes every unknown clip for the first class."""
    n_tasks, n_way, n_queries = tasks.queries.shape
    queries = np.tile(np.eye(n_way, dtype=np.float32)[None, :, None], (n_tasks, 1, n_queries, 1))
    queries[tasks.queries < 0] = np.nan
    unknown = np.zeros((*tasks.unknown.shape, n_way), dtype=np.float32)
    unknown[..., 0] = 0.5
    return TaskScores(queries, unknown)


def test_a_report_holds_everything_that_was_asked_for(
    tones: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_in = f"{__name__}:pooled_scores"
    more = ["--robustness", "--robustness-tasks", "20", "--invariance", "--plug-in-tasks", "15"]
    probes = ["--probes", "logistic", "logistic-c100", "prototype", "sgd", plug_in]
    status, out = run(tmp_path, checkpoint, tones, *more, *probes)
    assert status == 0
    document = json.loads((out / "results.json").read_text())
    (report,) = document["sets"]
    assert report["tasks"][1]["sha256"] != report["tasks"][0]["sha256"]
    expected = sample_tasks(read_folder(tones), TaskSpec(n_tasks=60, n_queries=3))
    assert report["tasks"][0]["sha256"] == expected.sha256()

    rows = {(row["k_shot"], row["head"], row["probe"]): row for row in report["accuracy"]}
    assert len(rows) == 2 * (3 * 4 + 1)
    assert rows[1, "its own", plug_in]["mean"] == 1.0
    assert rows[1, "its own", plug_in]["n_tasks"] == 15
    assert all(row["low"] <= row["mean"] <= row["high"] for row in rows.values())
    open_set = {(row["k_shot"], row["head"], row["probe"]): row for row in report["open_set"]}
    assert open_set[1, "its own", plug_in]["auroc"]["mean"] == 1.0
    assert open_set[1, "its own", plug_in]["equal_error"] == 0.0

    conditions = {row["condition"] for row in report["robustness"]}
    assert {"clean", "noise, SNR 0 dB", "room, 1.0 s", "recorded at 8 kHz", "groups mixed"} <= conditions
    assert len(conditions) == 12
    assert set(report["weight_shares"]) == {"invariant", "sensitive"}
    assert np.array(report["confusion"]["counts"]).shape == (7, 7)
    assert set(document["invariance"]["heads"]) == {"invariant", "sensitive", "all"}
    assert {row["set"] for row in document["controls"]["log-mel-statistics"]} == {"tones"}

    text = (out / "report.md").read_text()
    for heading in (
        "Accuracy",
        "Sets and tasks",
        "Robustness",
        "Invariance",
        "Share of the linear weight",
        "Confusions",
    ):
        assert f"## {heading}" in text
    assert report["tasks"][0]["sha256"][:16] in text
    for name in ("accuracy.png", "open-set.png", "invariance.png", "confusion-tones.png"):
        assert f"({name})" in text
        assert (out / name).read_bytes()[:4] == b"\x89PNG"
        assert (out / name).stat().st_size < 300_000
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2 * 13 + 1


def test_the_main_figure_is_scikit_learns_on_the_same_tasks(tones: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Embeddings, tasks, logistic regression and the mean, all done anew one by one."""
    status, out = run(tmp_path, checkpoint, tones, "--probes", "logistic", "--controls", "none")
    assert status == 0
    with np.load(out / "tasks.npz", allow_pickle=False) as stored:
        found = {k_shot: stored[f"tones/{k_shot}/all/logistic"] for k_shot in (1, 5)}
    clips = read_folder(tones)
    heads = embed_set(open_encoder(str(checkpoint)), clips)
    x = unit_length(np.concatenate([unit_length(rows) for rows in heads.values()], axis=1))
    for k_shot in (1, 5):
        tasks = sample_tasks(clips, TaskSpec(k_shot=k_shot, n_tasks=60, n_queries=3)).first(20)
        expected = []
        for support, queries in zip(tasks.support, tasks.queries, strict=True):
            model = LogisticRegression(C=1.0, max_iter=1000).fit(x[support.ravel()], np.repeat(np.arange(5), k_shot))
            own = [model.predict(x[row[row >= 0]]) == w for w, row in enumerate(queries)]
            expected.append(np.mean([right.mean() for right in own]))
        difference = np.abs(found[k_shot][:20] - expected)
        assert difference.mean() < 0.01  # a query that lies on a border may fall to either side


def test_another_run_gives_the_same_report_from_the_cache(tones: Path, checkpoint: Path, tmp_path: Path) -> None:
    (_, first), (_, second) = (
        run(tmp_path, checkpoint, tones, "--controls", "none", out=name) for name in ("one", "two")
    )
    assert json.loads((first / "results.json").read_text()) == json.loads((second / "results.json").read_text())
    assert len(list((tmp_path / "cache" / "embeddings").rglob("*.npz"))) == 1
    assert len(list((tmp_path / "cache" / "tasks").rglob("*.npz"))) == 2


def test_numbers_of_shots_that_no_set_has_clips_for_are_left_out(tones: Path, tmp_path: Path) -> None:
    status, out = run(tmp_path, "log-mel-statistics", tones, "--k-shots", "1", "8", "--skip-small-classes")
    assert status == 0
    (report,) = json.loads((out / "results.json").read_text())["sets"]
    assert {row["k_shot"] for row in report["accuracy"]} == {1}
    assert (out / "accuracy.png").stat().st_size > 1000


def test_compare_gives_paired_differences_and_ranks(
    tones: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = [
        run(tmp_path, subject, tones, "--controls", "none", out=name)[1]
        for name, subject in (("network", checkpoint), ("control", "log-mel-statistics"))
    ]
    capsys.readouterr()
    assert main(["compare", *map(str, reports), "--out", str(tmp_path / "both")]) == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "both" / "comparison.md").read_text()
    comparison = json.loads((tmp_path / "both" / "comparison.json").read_text())
    row = comparison["rows"][0]
    assert (row["set"], row["k_shot"]) == ("tones", 1)
    each = []
    for folder, head in zip(reports, ("all", "statistics"), strict=True):
        with np.load(folder / "tasks.npz", allow_pickle=False) as stored:
            each.append(stored[f"tones/1/{head}/logistic"].astype(float))
    assert row["difference"][0] is None
    assert row["difference"][1]["mean"] == pytest.approx((each[1] - each[0]).mean(), abs=1e-4)
    assert row["rank"] == [2.0, 1.0]  # tones of other pitches are what log-mel statistics know
    assert comparison["mean_rank"] == [2.0, 1.0]
    assert "mean rank" in printed

    _, others = run(tmp_path, checkpoint, tones, "--controls", "none", "--seed", "1", out="others")
    assert main(["compare", str(reports[0]), str(others)]) == 1
    assert "were evaluated on other 1-shot tasks of tones" in capsys.readouterr().err
    assert main(["compare", str(reports[0]), str(tmp_path)]) == 1
    assert "is not a report" in capsys.readouterr().err
    assert main(["compare", str(reports[0]), "--head", "events"]) == 1
    assert "share no set with the head 'events'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--k-shots", "8"], "tones: class 'tone0' has 8 clips, 8-shot tasks need 9, and 6 more classes fall short"),
        (["--n-way", "8"], "tones has 7 classes with enough clips for 1-shot tasks, 8 are needed"),
        (["--k-shots", "8", "--skip-small-classes"], "none of the sets has enough clips for these tasks"),
        (["--probes", "svm"], "name a number of shots and, first, one of logistic, logistic-c100, prototype, sgd"),
        (["--probes", "logistic", "svm"], "unknown probe 'svm'"),
        (["--probes", "logistic", "no.such:thing"], "there is no probe 'no.such:thing'"),
        (["--controls", "silence"], "unknown control 'silence': choose of log-mel-statistics, mfcc-statistics, random"),
        (["--controls", "mfcc-statistics,"], "unknown control ''"),
        (["--tasks", "0"], "n_tasks=0 must be at least 1"),
    ],
)
def test_what_a_person_gets_wrong_is_one_sentence_and_leaves_no_report(
    more: list[str], message: str, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = run(tmp_path, "log-mel-statistics", tones, *more)
    assert status == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_controls_are_named_with_commas_and_leave_what_follows_them_alone(tones: Path, tmp_path: Path) -> None:
    more = ["--sets", str(tones), "--k-shots", "1", "--tasks", "20", "--cache", str(tmp_path / "cache")]
    controls = {"mfcc-statistics,random-resnet18": {"mfcc-statistics", "random-resnet18"}, "none": set()}
    for given, expected in controls.items():
        out = tmp_path / given
        asked = ["evaluate", "--out", str(out), "--probes", "prototype", "--controls", given, "log-mel-statistics"]
        assert main([*asked, *more, "-q"]) == 0
        assert set(json.loads((out / "results.json").read_text())["controls"]) == expected


def test_two_sets_of_one_name_are_refused(tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "log-mel-statistics", "--sets", str(tones), str(tones), "--out", str(tmp_path / "report")]
    assert main([*arguments, "--cache", str(tmp_path / "cache")]) == 1
    assert "two sets have one name (tones, tones)" in capsys.readouterr().err
