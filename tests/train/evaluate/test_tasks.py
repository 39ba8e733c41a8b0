from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.evaluate.made import a_set
from train.errors import CorpusError, EvaluationError
from train.evaluate.sets import Item, LabelledSet, make_set
from train.evaluate.tasks import TaskSpec, sample_tasks, stored_tasks

SMALL = TaskSpec(n_tasks=60, n_queries=4, n_unknown=3)


def speakers(n_words: int = 6, n_speakers: int = 6, each: int = 3) -> LabelledSet:
    """Words, each said by the same speakers."""
    items = [
        Item(Path(f"/words/{w}/{s}-{i}.wav"), str(w), f"speaker {s}")
        for w in range(n_words)
        for s in range(n_speakers)
        for i in range(each)
    ]
    return make_set("words", Path("/words"), items)


@given(
    n_classes=st.integers(5, 9),
    n_groups=st.integers(2, 6),
    each=st.integers(1, 4),
    k=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_tasks_have_distinct_classes_and_clips_of_these_and_queries_in_other_groups(
    n_classes: int, n_groups: int, each: int, k: int, seed: int
) -> None:
    clips = a_set(n_classes, n_groups * each, n_groups)
    spec = replace(SMALL, k_shot=k, n_tasks=10, seed=seed)
    if n_groups * each - each < k:
        with pytest.raises(CorpusError, match=r"too few for|tasks need"):
            sample_tasks(clips, spec)
        return
    tasks = sample_tasks(clips, spec)
    for t in range(10):
        assert len(set(tasks.classes[t].tolist())) == 5
        for w, c in enumerate(tasks.classes[t]):
            support, queries = tasks.support[t, w], tasks.queries[t, w]
            queries = queries[queries >= 0]
            assert len(set(support.tolist())) == k
            assert 1 <= len(queries) <= 4
            assert len(set(queries.tolist())) == len(queries)
            assert (clips.labels[support] == c).all()
            assert (clips.labels[queries] == c).all()
            assert not set(clips.groups[support].tolist()) & set(clips.groups[queries].tolist())


def test_with_groups_apart_in_a_task_no_query_has_a_speaker_of_any_support() -> None:
    clips = speakers()
    tasks = sample_tasks(clips, replace(SMALL, k_shot=2, apart="task"))
    for t in range(len(tasks.classes)):
        taught = set(clips.groups[tasks.support[t]].ravel().tolist())
        asked = tasks.queries[t][tasks.queries[t] >= 0]
        assert len(asked) >= 5
        assert not taught & set(clips.groups[asked].tolist())


def test_with_groups_mixed_queries_do_share_groups_with_their_support() -> None:
    clips = speakers(n_speakers=2)
    tasks = sample_tasks(clips, replace(SMALL, apart="mixed"))
    shared = clips.groups[tasks.queries] == clips.groups[tasks.support]
    assert 0.2 < shared.mean() < 0.6  # 2 of the other 5 clips of a class


def test_unknown_clips_are_of_other_classes_and_there_are_none_if_there_are_no_others() -> None:
    clips = a_set(8, 6)
    tasks = sample_tasks(clips, SMALL)
    assert tasks.unknown.shape == (60, 3)
    others = clips.labels[tasks.unknown]
    assert not (others[:, :, None] == tasks.classes[:, None, :]).any()
    assert len(np.unique(tasks.unknown)) > 40
    assert sample_tasks(a_set(5, 6), SMALL).unknown.shape == (60, 0)


def test_every_class_and_clip_is_drawn_about_as_often_as_any_other() -> None:
    clips = a_set(8, 5, 5)
    tasks = sample_tasks(clips, replace(SMALL, n_tasks=2000))
    per_class = np.bincount(tasks.classes.ravel(), minlength=8) / 2000
    np.testing.assert_allclose(per_class, 5 / 8, atol=0.05)
    per_clip = np.bincount(tasks.support.ravel(), minlength=40) / 2000
    np.testing.assert_allclose(per_clip, 5 / 40, atol=0.03)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (a_set(6, 5, name="few"), r"few: class '000' has 5 clips, 5-shot tasks need 6, and 5 more classes fall short"),
        (a_set(6, 9, 1, name="one"), r"one: class '000' has all its 9 clips in one group"),
        (
            a_set(6, 8, 2, name="two"),
            r"two: class '000' has 8 clips in 2 groups, too few for 5 shots and a query apart",
        ),
        (a_set(4, 20, name="narrow"), r"narrow has 4 classes with enough clips for 5-shot tasks, 5 are needed"),
    ],
)
def test_too_small_a_set_is_an_error_that_names_it_and_the_class(clips: LabelledSet, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        sample_tasks(clips, replace(SMALL, k_shot=5))


def test_small_classes_are_left_out_on_request_and_named() -> None:
    items = a_set(6, 8).items()
    small = [Item(Path("/set/tiny/0.wav"), "tiny"), Item(Path("/set/tiny/1.wav"), "tiny")]
    clips = make_set("set", Path("/set"), [*items, *small])
    tasks = sample_tasks(clips, replace(SMALL, k_shot=5), skip_small=True)
    assert tasks.left_out == ("tiny",)
    assert clips.classes.index("tiny") not in tasks.classes
    assert clips.classes.index("tiny") not in clips.labels[tasks.unknown]


def test_the_same_seed_gives_the_same_tasks_and_another_one_others() -> None:
    clips = a_set(8, 6, 3)
    first = sample_tasks(clips, SMALL).sha256()
    assert sample_tasks(clips, SMALL).sha256() == first
    assert sample_tasks(clips, replace(SMALL, seed=1)).sha256() != first


def test_tasks_are_stored_read_back_and_checked(tmp_path: Path) -> None:
    clips = a_set(8, 6, 3)
    drawn = stored_tasks(clips, SMALL, tmp_path)
    (path,) = tmp_path.glob("set-5way-1shot-*.npz")
    stamp = path.stat().st_mtime_ns
    assert stored_tasks(clips, SMALL, tmp_path).sha256() == drawn.sha256()
    assert path.stat().st_mtime_ns == stamp
    stored_tasks(clips, replace(SMALL, k_shot=2), tmp_path)
    stored_tasks(a_set(8, 6, 2), SMALL, tmp_path)  # another listing
    assert len(list(tmp_path.iterdir())) == 3

    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    arrays["support"][0, 0, 0] += 1
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(EvaluationError, match=r"is damaged \(its hash differs\): delete it"):
        stored_tasks(clips, SMALL, tmp_path)
    path.write_bytes(b"no zip")
    with pytest.raises(EvaluationError, match=r"is damaged .*: delete it"):
        stored_tasks(clips, SMALL, tmp_path)


@pytest.mark.parametrize("change", [{"n_way": 1}, {"k_shot": 0}, {"n_queries": 0}, {"n_tasks": 0}])
def test_a_senseless_task_is_an_error_that_names_the_setting(change: dict[str, int]) -> None:
    with pytest.raises(EvaluationError, match=f"{next(iter(change))}=.* must be at least"):
        replace(SMALL, **change)
