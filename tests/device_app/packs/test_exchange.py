import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_app.__main__ import main
from device_app.enrolment.profile import Profile
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import EarmarkError, ModelMismatchError, PackError, ProfileError
from device_app.model.embedder import Embedder, load_embedder
from device_app.model.model_file import with_metadata
from device_app.packs.exchange import export_pack, import_pack
from device_app.packs.pack_file import open_pack
from tests.device_app.small_profile import bursts, snapshot
from tests.device_app.tiny_model import parts, tiny_graph


def counts(profile: Profile) -> dict[str, int]:
    return {name: len(entries) for name, entries in profile.sounds.items()}


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    graph = tiny_graph(seed=5)
    path = tmp_path_factory.mktemp("other") / "other.onnx"
    path.write_bytes(with_metadata(graph, *parts(graph)))
    return load_embedder(path)


def test_a_pack_holds_a_manifest_and_arrays_and_says_what_it_is(packs: dict[str, Path], tiny: Embedder) -> None:
    with zipfile.ZipFile(packs["audio"]) as file:
        names = file.namelist()
        manifest = json.loads(file.read("manifest.json"))
        array = np.load(file.open(names[1]), allow_pickle=False)
    assert {name.split("/")[0] for name in names} == {"manifest.json", "embeddings", "recordings"}
    assert len(names) == 1 + 2 * 6
    assert array.dtype == np.float32
    assert array.shape[1] == tiny.size == manifest["embedding_size"]
    assert manifest["model_id"] == tiny.metadata.model_id
    assert manifest["licence"] == "CC0-1.0"
    assert sorted(manifest["sounds"]) == ["-dog", "bell", "dog"]
    assert manifest["settings"] == {"dog": {"false_alarms_per_day": 3.0}}


@pytest.mark.parametrize("with_audio", [True, False])
def test_what_was_exported_is_heard_the_same_where_it_is_imported(
    with_audio: bool, taught: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    names = ["dog", "bell", "background"]
    export_pack(taught, tmp_path / "all.zip", tiny, names=names, with_audio=with_audio, licence="")
    profile = Profile(tmp_path / "p")
    assert import_pack(profile, tmp_path / "all.zip", tiny, {}).n_new == {
        "-dog": 1,
        "background": 1,
        "bell": 2,
        "dog": 3,
    }
    assert profile.settings == taught.settings
    ours, theirs = Profile(profile.path).head(tiny), taught.head(tiny)
    assert ours.sounds == theirs.sounds
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-5)
    for entry in taught.sounds["dog"]:
        kept = profile.files.recording(entry.id)
        assert kept.exists() is with_audio


def test_a_pack_that_is_imported_again_changes_nothing(packs: dict[str, Path], tiny: Embedder, tmp_path: Path) -> None:
    profile = Profile(tmp_path / "p")
    import_pack(profile, packs["audio"], tiny, {})
    before = (profile.path / "profile.json").read_bytes()
    assert sum(import_pack(profile, packs["audio"], tiny, {}).n_new.values()) == 0
    assert (profile.path / "profile.json").read_bytes() == before


def test_packs_are_merged_and_renamed_and_what_is_set_here_stays(
    packs: dict[str, Path], tiny: Embedder, tmp_path: Path
) -> None:
    profile = Profile(tmp_path / "p")
    with profile.lock():
        profile.settings["Rex"] = SoundSettings(false_alarms_per_day=9.0)
        profile.add("Rex", bursts(20, 2), tiny)
    import_pack(profile, packs["bare"], tiny, {"dog": "Rex", "bell": "noise"})
    assert counts(profile) == {"Rex": 5, "-Rex": 1, "background": 2}
    assert profile.settings == {"Rex": SoundSettings(false_alarms_per_day=9.0)}


def test_a_pack_of_another_model_is_embedded_again_from_its_audio(
    packs: dict[str, Path], other_model: Embedder, tmp_path: Path
) -> None:
    profile = Profile(tmp_path / "p")
    assert import_pack(profile, packs["audio"], other_model, {}).re_embedded
    assert profile.head(other_model).model_id == other_model.metadata.model_id
    assert profile.head(other_model).sounds == ("bell", "dog")


def test_a_pack_of_another_model_without_audio_is_refused(
    packs: dict[str, Path], other_model: Embedder, tmp_path: Path
) -> None:
    with pytest.raises(ModelMismatchError, match="holds no audio to embed again"):
        import_pack(Profile(tmp_path / "p"), packs["bare"], other_model, {})
    assert not (tmp_path / "p").exists()


def test_what_came_without_audio_cannot_be_moved_to_another_model_nor_exported_with_audio(
    packs: dict[str, Path], tiny: Embedder, other_model: Embedder, tmp_path: Path
) -> None:
    profile = Profile(tmp_path / "p")
    import_pack(profile, packs["bare"], tiny, {})
    with pytest.raises(ProfileError, match="came in a pack without audio"):
        profile.refit(other_model)
    with pytest.raises(PackError, match="came without audio itself"):
        export_pack(profile, tmp_path / "x.zip", tiny, names=[], with_audio=True, licence="")
    assert not (tmp_path / "x.zip").exists()


def test_a_recording_that_is_another_sound_here_is_refused_with_how_to_rename(
    packs: dict[str, Path], tiny: Embedder, tmp_path: Path
) -> None:
    profile = Profile(tmp_path / "p")
    with profile.lock():
        profile.add("wolf", bursts(1, 1), tiny)
    before = snapshot(profile.path)
    for renamed in ({}, {"dog": "fox"}):
        with pytest.raises(ProfileError, match=r"of 'dog' in the pack is taught as 'wolf' .* --rename dog=wolf"):
            import_pack(profile, packs["audio"], tiny, renamed)
    assert snapshot(profile.path) == before


def test_a_pack_says_nothing_of_where_its_recordings_lay(taught: Profile, tiny: Embedder, tmp_path: Path) -> None:
    profile = Profile(tmp_path / "p")
    with profile.lock():
        profile.add("dog", [replace(bursts(0, 1)[0], origin="/home/someone/dog.wav")], tiny)
    export_pack(profile, tmp_path / "dog.zip", tiny, names=["dog"], with_audio=True, licence="")
    with zipfile.ZipFile(tmp_path / "dog.zip") as file:
        content = b"".join(file.read(name) for name in file.namelist())
    assert b"dog.wav" in content
    assert b"someone" not in content


def test_a_report_travels_with_a_pack(taught: Profile, tiny: Embedder, tmp_path: Path) -> None:
    report = {"sounds": [{"sound": "dog", "recall_low": 0.48, "taken_for": {"bell": 1}}]}
    export_pack(taught, tmp_path / "x.zip", tiny, names=[], with_audio=False, licence="", report=report)
    with open_pack(tmp_path / "x.zip") as pack:
        assert pack.manifest.report == report


def test_the_commands_export_and_import(taught: Profile, tiny: Embedder, tmp_path: Path) -> None:
    model, out = f"--model={tiny.path}", str(tmp_path / "bell.zip")
    assert main(["pack", "export", out, "bell", "--licence=CC0-1.0", f"--profile={taught.path}", model]) == 0
    assert main(["pack", "import", out, "--rename", "bell=gong", f"--profile={tmp_path}/p", model]) == 0
    assert counts(Profile(tmp_path / "p")) == {"gong": 2}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["export", "x.zip", "cat"], "there is no 'cat'"),
        (["import", "missing.zip"], "cannot read the pack missing.zip: No such file"),
        (["import", "."], "it is not a file"),
        (["import", "audio.zip", "--rename", "cat=dog"], "no 'cat' in it to rename"),
        (["import", "audio.zip", "--rename", "dog=../x"], "cannot be a sound's name"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    arguments: list[str],
    expected: str,
    taught: Profile,
    packs: dict[str, Path],
    tiny: Embedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("audio.zip").write_bytes(packs["audio"].read_bytes())
    before = snapshot(taught.path)
    assert main(["pack", *arguments, f"--profile={taught.path}", f"--model={tiny.path}"]) == 1
    assert expected in capsys.readouterr().err
    assert snapshot(taught.path) == before


def test_audio_that_comes_after_a_pack_without_is_kept_and_embedded(
    packs: dict[str, Path], taught: Profile, tiny: Embedder, other_model: Embedder, tmp_path: Path
) -> None:
    profile = Profile(tmp_path / "p")
    import_pack(profile, packs["bare"], tiny, {})
    before = counts(profile)
    imported = import_pack(profile, packs["audio"], tiny, {})
    assert (imported.n_audio, sum(imported.n_new.values())) == (6, 0)
    assert counts(profile) == before
    for entry in profile.sounds["dog"]:
        ours, theirs = (each.files.recording(entry.id).read_bytes() for each in (profile, taught))
        assert ours == theirs
    assert profile.refit(other_model).model_id == other_model.metadata.model_id
    assert import_pack(profile, packs["audio"], tiny, {}).n_audio == 0


@pytest.mark.parametrize("content", [None, b"", b"fLaC"])
def test_a_recording_that_was_lost_is_put_back_by_enrolling_it_again(
    content: bytes | None, tiny: Embedder, other_model: Embedder, tmp_path: Path
) -> None:
    profile = Profile(tmp_path / "p")
    with profile.lock():
        profile.add("dog", bursts(0, 2), tiny)
    path = profile.files.recording(profile.sounds["dog"][0].id)
    whole = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(EarmarkError, match="enrol that recording again"):
        profile.refit(other_model)
    with profile.lock():
        profile.add("dog", bursts(0, 2), tiny)
    assert (len(path.read_bytes()), counts(profile)) == (len(whole), {"dog": 2})
    profile.refit(other_model)


def test_a_damaged_recording_is_not_exported(
    taught: Profile, tiny: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copytree(taught.path, tmp_path / "p"))
    recording = Profile(path).files.recording(taught.sounds["dog"][0].id)
    recording.write_bytes(recording.read_bytes()[:200])
    where = [f"--profile={path}", f"--model={tiny.path}"]
    assert main(["pack", "export", f"{tmp_path}/x.zip", "--with-audio", *where]) == 1
    assert "of 'dog' is damaged: restore it, or export without --with-audio" in capsys.readouterr().err
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.parametrize("licence", ["two\nlines", "x" * 501, "red \x1b[31m"])
def test_a_licence_that_no_import_would_take_is_not_exported(
    licence: str, taught: Profile, tiny: Embedder, tmp_path: Path
) -> None:
    with pytest.raises(PackError, match="one line of at most 500 characters"):
        export_pack(taught, tmp_path / "x.zip", tiny, names=[], with_audio=False, licence=licence)
    assert not (tmp_path / "x.zip").exists()


def test_what_no_import_would_take_is_not_exported(taught: Profile, tiny: Embedder, tmp_path: Path) -> None:
    profile = Profile(shutil.copytree(taught.path, tmp_path / "p"))
    profile.index.sounds["dog"][0] = replace(profile.index.sounds["dog"][0], recorded="yesterday")
    with pytest.raises(PackError, match="nobody could import a pack of -dog, dog: its manifest is damaged"):
        export_pack(profile, tmp_path / "x.zip", tiny, names=["dog"], with_audio=False, licence="")
    assert not (tmp_path / "x.zip").exists()


def test_a_licence_stays_with_the_recordings_that_came_under_it(
    packs: dict[str, Path], tiny: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [f"--profile={tmp_path}/p", f"--model={tiny.path}"]
    assert main(["pack", "import", str(packs["audio"]), *where]) == 0  # CC0-1.0
    profile = Profile(tmp_path / "p")
    with profile.lock():
        profile.add("dog", bursts(30, 1), tiny)
    assert main(["pack", "export", f"{tmp_path}/x.zip", "dog", "--licence=MIT", *where]) == 0
    assert "keep their licence: CC0-1.0" in capsys.readouterr().err
    third = Profile(tmp_path / "third")
    assert import_pack(third, tmp_path / "x.zip", tiny, {}).licences == ("CC0-1.0", "MIT")
    assert sorted(str(entry.licence) for entry in third.sounds["dog"]) == ["CC0-1.0", "CC0-1.0", "CC0-1.0", "MIT"]
    assert {str(entry.licence) for entry in Profile(third.path).sounds["-dog"]} == {"CC0-1.0"}


def test_an_import_says_what_the_pack_says_of_its_sounds_and_sets(
    packs: dict[str, Path], taught: Profile, tiny: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"--model={tiny.path}"
    assert main(["pack", "export", f"{tmp_path}/x.zip", "dog", f"--profile={taught.path}", model]) == 0
    with open_pack(tmp_path / "x.zip") as pack:
        assert pack.manifest.report is not None
        reported = pack.manifest.report["sounds"]
    assert [sound["sound"] for sound in reported] == ["dog"]
    capsys.readouterr()
    rename = ["--rename", "dog=Rex"]
    assert main(["pack", "import", f"{tmp_path}/x.zip", *rename, f"--profile={tmp_path}/p", model]) == 0
    said = capsys.readouterr().err
    heard = f"Rex: where the pack was made, {reported[0]['n_heard']} of 3 recordings were heard; "
    assert heard in said
    assert "Rex: set as in the pack, false alarms per day 3.0" in said


def test_an_import_prints_nothing_of_a_report_but_numbers(
    taught: Profile, tiny: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [f"--profile={tmp_path}/p", f"--model={tiny.path}"]
    for amiss in ("\x1b[31m", [1], {}, None, True, -1, 10**400, 1e308):
        sound = {"sound": "dog", "n_heard": amiss, "n_judged": amiss, "false_alarms_per_hour": amiss, "taken_for": {}}
        report = {"sounds": [sound]}
        export_pack(taught, tmp_path / "x.zip", tiny, names=["dog"], with_audio=False, licence="", report=report)
        assert main(["pack", "import", f"{tmp_path}/x.zip", *where]) == 0
        assert "where the pack was made, nothing is known of it" in capsys.readouterr().err


def test_names_that_differ_in_case_alone_are_refused_with_how_to_rename(
    packs: dict[str, Path], tiny: Embedder, tmp_path: Path
) -> None:
    profile = Profile(tmp_path / "p")
    with profile.lock():
        profile.add("DOG", bursts(30, 1), tiny)
    before = snapshot(profile.path)
    with pytest.raises(ProfileError, match=r"'dog' and 'DOG' differ in .* --rename dog=DOG"):
        import_pack(profile, packs["audio"], tiny, {})
    assert snapshot(profile.path) == before
    import_pack(profile, packs["audio"], tiny, {"dog": "DOG"})
    assert counts(profile) == {"DOG": 4, "-DOG": 1, "bell": 2}


def test_an_export_replaces_an_older_pack_but_nothing_else(taught: Profile, tiny: Embedder, tmp_path: Path) -> None:
    where = [f"--profile={taught.path}", f"--model={tiny.path}"]
    for path in (taught.path / "profile.json", tmp_path):
        before = snapshot(taught.path)
        assert main(["pack", "export", str(path), *where]) == 1
        assert snapshot(taught.path) == before
    (tmp_path / "new.zip").touch()
    for _ in range(2):
        assert main(["pack", "export", f"{tmp_path}/new.zip", "bell", *where]) == 0
    with open_pack(tmp_path / "new.zip") as pack:
        assert list(pack.manifest.sounds) == ["bell"]
