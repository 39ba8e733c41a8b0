"""Each published layout in small, made here: what is a class, what a group, what is left out, what is missed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.train.evaluate.made import write_clip
from train.errors import CorpusError
from train.evaluate.datasets import PUBLISHED, open_set
from train.evaluate.sets import LabelledSet


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def esc50(root: Path) -> None:
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for c in range(12):
        for i in range(3):
            name = f"1-{c}{i // 2}-{'AB'[i % 2]}-{c}.wav"
            touch(root / "audio" / name)
            rows.append(f"{name},1,{c},class{c:02},False,{c}{i // 2},{'AB'[i % 2]}")
    (root / "meta").mkdir()
    (root / "meta" / "esc50.csv").write_text("\n".join(rows))


def nsynth(root: Path) -> None:
    for part in ("train", "valid", "test"):
        notes = {}
        for pitch in (60, 61):
            for velocity in (50, 100):
                name = f"guitar_{part}_000-{pitch:03}-{velocity:03}"
                touch(root / f"nsynth-{part}" / "audio" / f"{name}.wav")
                notes[name] = {"instrument_str": f"guitar_{part}_000", "pitch": pitch, "velocity": velocity}
        (root / f"nsynth-{part}" / "examples.json").write_text(json.dumps(notes))


def fsdkaggle2018(root: Path) -> None:
    (root / "FSDKaggle2018.meta").mkdir(parents=True)
    train = ["fname,label,manually_verified,freesound_id,license"]
    test = ["fname,label,usage,freesound_id,license"]
    for c in range(9):
        touch(root / "FSDKaggle2018.audio_train" / f"{c}a.wav")
        touch(root / "FSDKaggle2018.audio_test" / f"{c}b.wav")
        train.append(f"{c}a.wav,label{c},1,{100 + c},CC0")
        test.append(f"{c}b.wav,label{c},Public,{200 + c},CC0")
    touch(root / "FSDKaggle2018.audio_test" / "padding.wav")  # a clip that was not scored
    (root / "FSDKaggle2018.meta" / "train_post_competition.csv").write_text("\n".join(train))
    (root / "FSDKaggle2018.meta" / "test_post_competition_scoring_clips.csv").write_text("\n".join(test))


def watkins(root: Path) -> None:
    for name in ("Sperm_Whale/62031001.wav", "Sperm_Whale/62031002.wav", "Sperm_Whale/7200900F.wav", "Walrus/a.wav"):
        touch(root / name)


def birdclef2020(root: Path) -> None:
    for species, n in (("amerob", 50), ("rare", 49)):
        for i in range(n):
            touch(root / species / f"XC{i}.wav")
            soundfile.write(root / species / f"XC{i}.wav", np.full(20, 0.1), 100)
    soundfile.write(root / "amerob" / "long.wav", np.full(18_100, 0.1), 100)


def voxceleb1(root: Path) -> None:
    for part, speaker in (("dev", "id10001"), ("dev", "id10002"), ("test", "id10270")):
        for clip in ("1zcIwhmdeo4/00001.wav", "1zcIwhmdeo4/00002.wav", "7gWzIy6yIIk/00001.wav"):
            touch(root / f"vox1_{part}_wav" / "wav" / speaker / clip)


def speech_commands(root: Path) -> None:
    for word in ("yes", "no", "_background_noise_"):
        for name in ("0a7c2a8d_nohash_0.wav", "0a7c2a8d_nohash_1.wav", "0b09edd3_nohash_0.wav"):
            touch(root / word / name)
    (root / "testing_list.txt").write_text("yes/0a7c2a8d_nohash_0.wav\n")


def crema_d(root: Path) -> None:
    for actor in (1001, 1002):
        for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
            touch(root / "AudioWAV" / f"{actor}_DFA_{emotion}_XX.wav")


def accent_archive(root: Path) -> None:
    rows = ["age,age_onset,birthplace,filename,native_language,sex,speakerid,country,file_missing?,,,"]
    for name, language, missing in (
        ("dutch1", "dutch", "FALSE"),
        ("dutch2", "dutch", "FALSE"),
        ("dutch3", "dutch", "TRUE"),
        ("twi1", "twi", "FALSE"),
        ("thai1", "thai", "FALSE"),
        ("thai2", "thai", "FALSE"),
    ):
        rows.append(f'30,5,"somewhere, there",{name},{language},male,1,x,{missing},,,')
        if missing == "FALSE":
            touch(root / "recordings" / "recordings" / f"{name}.mp3")
    (root / "speakers_all.csv").write_text("\n".join(rows))


def common_voice(root: Path) -> None:
    for language in ("eo", "fy-NL"):
        rows = ["client_id\tpath\tsentence"]
        for i in range(3):
            touch(root / language / "clips" / f"common_voice_{language}_{i}.mp3")
            rows.append(f'speaker{i // 2}\tcommon_voice_{language}_{i}.mp3\ta "quoted word')
        touch(root / language / "clips" / "common_voice_not_validated.mp3")
        (root / language / "validated.tsv").write_text("\n".join(rows))


def groups_of(labelled: LabelledSet, name: str) -> list[int]:
    """Number of clips in each group of a class."""
    own = labelled.groups[labelled.labels == labelled.classes.index(name)]
    return sorted(np.unique(own, return_counts=True)[1].tolist())


@pytest.mark.parametrize(
    ("name", "make", "n_classes", "n_clips", "a_class", "its_groups"),
    [
        ("esc50", esc50, 12, 36, "class00", [1, 2]),
        ("nsynth", nsynth, 3, 12, "guitar_valid_000", [2, 2]),
        ("fsdkaggle2018", fsdkaggle2018, 9, 18, "label3", [1, 1]),
        ("watkins", watkins, 2, 4, "Sperm_Whale", [1, 2]),
        ("birdclef2020", birdclef2020, 1, 50, "amerob", [1] * 50),
        ("voxceleb1", voxceleb1, 3, 9, "id10270", [1, 2]),
        ("speech-commands", speech_commands, 2, 6, "yes", [1, 2]),
        ("crema-d", crema_d, 6, 12, "anger", [1, 1]),
        ("accent-archive", accent_archive, 2, 4, "dutch", [1, 1]),
        ("common-voice", common_voice, 2, 6, "fy-NL", [1, 2]),
    ],
)
def test_a_published_layout_gives_its_classes_clips_and_groups_and_says_that_it_is_not_whole(
    name: str,
    make: Callable[[Path], None],
    n_classes: int,
    n_clips: int,
    a_class: str,
    its_groups: list[int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make(tmp_path)
    found = open_set(f"{name}:all={tmp_path}")
    assert (len(found.classes), len(found.paths)) == (n_classes, n_clips)
    assert groups_of(found, a_class) == its_groups
    published = PUBLISHED[name]
    assert f"partial: {n_classes} of {published.n_classes} classes" in found.notes[0]
    assert f"{n_clips} of {published.n_clips} clips" in found.notes[0]
    assert f"it is had from {published.home}" in caplog.text


def test_all_ten_have_a_test() -> None:
    assert len(PUBLISHED) == 10


def test_missing_words_are_named(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    (note,) = open_set(f"speech-commands={tmp_path}").notes
    assert "missing: backward, bed, bird, cat, dog, down, eight, five, ..." in note


@pytest.mark.parametrize(
    ("name", "make", "remove", "what"),
    [
        ("esc50", esc50, "meta/esc50.csv", r"meta/esc50\.csv"),
        ("esc50", esc50, "audio/1-30-A-3.wav", r"1 of the 36 files that it lists \(first: audio/1-30-A-3\.wav\)"),
        ("nsynth", nsynth, "nsynth-valid/examples.json", r"nsynth-valid/examples\.json"),
        ("nsynth", nsynth, "nsynth-test/audio/guitar_test_000-060-050.wav", r"1 of the 12 files"),
        ("fsdkaggle2018", fsdkaggle2018, "FSDKaggle2018.audio_test/4b.wav", r"1 of the 18 files"),
        ("speech-commands", speech_commands, "testing_list.txt", r"testing_list\.txt"),
        ("speech-commands", speech_commands, "yes/0a7c2a8d_nohash_0.wav", r"1 of the 1 files"),
        ("accent-archive", accent_archive, "speakers_all.csv", r"speakers_all\.csv"),
        ("accent-archive", accent_archive, "recordings/recordings/thai2.mp3", r"1 of the 5 files .*thai2\.mp3"),
        ("common-voice", common_voice, "eo/clips/common_voice_eo_1.mp3", r"1 of the 6 files .*eo_1\.mp3"),
    ],
)
def test_what_a_download_lacks_is_named_with_where_it_is_had(
    name: str, make: Callable[[Path], None], remove: str, what: str, tmp_path: Path
) -> None:
    make(tmp_path)
    (tmp_path / remove).unlink()
    with pytest.raises(
        CorpusError, match=rf"{name}: .* lacks {what}.*: the folder should hold .*; it is had from http"
    ):
        open_set(f"{name}={tmp_path}")


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_an_empty_folder_is_an_error_for_every_set(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"lacks|no audio in"):
        open_set(f"{name}={tmp_path}")


def test_a_part_of_voxceleb_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    voxceleb1(tmp_path)
    for path in sorted((tmp_path / "vox1_test_wav").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "vox1_test_wav").rmdir()
    with pytest.raises(CorpusError, match=r"voxceleb1: .* lacks vox1_test_wav/wav or test/wav"):
        open_set(f"voxceleb1={tmp_path}")


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("meta/esc50.csv", "filename,category\nx.wav,dog\n", r"has no column src_file"),
        ("meta/esc50.csv", "filename,category,src_file\n\xff\n", r"cannot be read"),
    ],
)
def test_a_damaged_table_is_an_error_that_names_it(path: str, text: str, message: str, tmp_path: Path) -> None:
    esc50(tmp_path)
    (tmp_path / path).write_bytes(text.encode("latin-1"))
    with pytest.raises(CorpusError, match=rf"esc50: .*esc50\.csv {message}"):
        open_set(f"esc50={tmp_path}")


def test_without_more_as_many_classes_are_taken_as_in_the_paper_and_the_same_ones_each_time(tmp_path: Path) -> None:
    esc50(tmp_path)
    found = open_set(f"esc50={tmp_path}")
    assert len(found.classes) == 10
    assert len(found.paths) == 30
    assert "10 of 12 classes, by the hash of their names (not the paper's choice)" in found.notes
    assert open_set(f"esc50={tmp_path}").classes == found.classes


def test_a_list_of_classes_is_followed_and_a_class_that_is_not_there_refused(tmp_path: Path) -> None:
    esc50(tmp_path)
    listing = tmp_path / "classes.txt"
    listing.write_text("class03\nclass11\n\n")
    assert open_set(f"esc50:{listing}={tmp_path}").classes == ("class03", "class11")
    listing.write_text("class03\nDog\n")
    with pytest.raises(CorpusError, match=r"esc50 has no class 'Dog', which .*classes\.txt lists"):
        open_set(f"esc50:{listing}={tmp_path}")
    with pytest.raises(CorpusError, match=r"the list of classes .*none\.txt cannot be read"):
        open_set(f"esc50:{tmp_path / 'none.txt'}={tmp_path}")


def test_an_unreadable_recording_of_birdclef_is_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "amerob" / "1.wav")
    (tmp_path / "amerob" / "2.wav").write_bytes(b"no audio")
    with pytest.raises(CorpusError, match=r"birdclef2020: class 'amerob': .*2\.wav cannot be decoded"):
        open_set(f"birdclef2020={tmp_path}")
