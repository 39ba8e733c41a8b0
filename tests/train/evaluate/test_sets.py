from pathlib import Path

import pytest

from tests.train.evaluate.made import a_set, write_tones
from train.errors import CorpusError
from train.evaluate.datasets import open_set, open_sets
from train.evaluate.sets import by_group, read_folder


def test_classes_and_groups_are_read_from_the_folder(tmp_path: Path) -> None:
    for name in ("dog/a.wav", "dog/b.wav", "cat/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "groups.csv").write_text("dog/a.wav,one\ndog/b.wav,one\n")
    read = read_folder(tmp_path)
    assert read.names == ["cat/c.wav", "dog/a.wav", "dog/b.wav"]
    assert read.classes == ("cat", "dog")
    assert read.labels.tolist() == [0, 1, 1]
    assert read.groups[1] == read.groups[2] != read.groups[0]
    assert read.has_groups


def test_a_folder_without_a_table_has_no_groups(tmp_path: Path) -> None:
    for name in ("dog/a.wav", "dog/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    read = read_folder(tmp_path)
    assert not read.has_groups
    assert len(set(read.groups.tolist())) == 2


def test_a_clip_outside_a_class_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "loose.wav").touch()
    with pytest.raises(CorpusError, match=r"loose\.wav lies in no class folder: sort the clips as .*/CLASS/CLIP"):
        read_folder(tmp_path)


def test_by_group_swaps_what_is_said_and_who_says_it(tmp_path: Path) -> None:
    for word in ("yes", "no"):
        for speaker in ("ann", "bob", "eve"):
            (tmp_path / word).mkdir(exist_ok=True)
            (tmp_path / word / f"{speaker}.wav").touch()
    rows = [f"{w}/{s}.wav,{s}\n" for w in ("yes", "no") for s in ("ann", "bob", "eve")]
    (tmp_path / "groups.csv").write_text("".join(rows))
    swapped = open_set(f"{tmp_path}@group")
    assert swapped.name == f"{tmp_path.name}@group"
    assert len(swapped.classes) == 3
    for clips in ([i for i, label in enumerate(swapped.labels) if label == c] for c in range(3)):
        assert len({swapped.paths[i].stem for i in clips}) == 1
        assert len({swapped.groups[i] for i in clips}) == 2


def test_without_groups_there_is_nothing_to_swap() -> None:
    with pytest.raises(CorpusError, match=r"set has no groups that could be its classes"):
        by_group(a_set(2, 3), "swapped")


def test_the_listing_hash_changes_with_a_class_a_group_and_a_name_but_not_with_the_place(tmp_path: Path) -> None:
    here, there = write_tones(tmp_path / "a" / "tones"), write_tones(tmp_path / "b" / "tones")
    before = read_folder(here).sha256()
    assert read_folder(there).sha256() == before
    (there / "groups.csv").write_text("")
    assert read_folder(there).sha256() != before
    (here / "tone0" / "0.wav").rename(here / "tone1" / "0b.wav")
    assert read_folder(here).sha256() != before


def test_a_folder_of_sets_and_an_unknown_name_are_errors_that_list_what_there_is(tmp_path: Path) -> None:
    write_tones(tmp_path / "tones")
    with pytest.raises(CorpusError, match=r"is a folder of sets \(tones\)"):
        open_sets([str(tmp_path)])
    with pytest.raises(CorpusError, match=r"unknown data set 'esc-50': choose of esc50, nsynth, .*common-voice"):
        open_set("esc-50=somewhere")
    with pytest.raises(CorpusError, match=r"esc50: .*nowhere is not a folder: .* it is had from https"):
        open_set(f"esc50={tmp_path / 'nowhere'}")
