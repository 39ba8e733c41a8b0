"""Files, folders of folders, and changes of one sound that leave the others alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import device_app
from device_app.__main__ import main
from device_app.arrays import FloatArray
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_files import NewRecording, read_flac
from device_app.enrolment.profile_index import Index
from device_app.errors import ProfileError
from device_app.model.embedder import Embedder
from tests.device_app.taught_profile import CLOCKS, DOGS, ROOSTERS, recordings


def put(folder: Path, paths: list[Path]) -> None:
    folder.mkdir(parents=True)
    for path in paths:
        (folder / path.name).write_bytes(path.read_bytes())


def counts(profile: Path) -> dict[str, int]:
    return {name: len(entries) for name, entries in Profile(profile).sounds.items()}


def test_a_folder_of_folders_teaches_a_sound_each_background_and_what_is_not_to_be_confused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in" / "dog", DOGS[:2])
    put(tmp_path / "in" / "_background_noise_", CLOCKS[:1])
    put(tmp_path / "in" / "Noise", CLOCKS[1:2])
    put(tmp_path / "in" / "-dog", ROOSTERS[:1])
    put(tmp_path / "in" / ".hidden", ROOSTERS[1:2])
    profile = tmp_path / "profile"
    assert main(["enrol", "--from", str(tmp_path / "in"), "--profile", str(profile)]) == 0
    assert counts(profile) == {"dog": 2, "background": 2, "-dog": 1}
    assert Profile(profile).taught == ["dog"]
    assert "dog is told apart from them" in capsys.readouterr().err
    assert main(["sounds", "--profile", str(profile), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["sound"]: line["n_recordings"] for line in lines} == {"-dog": 1, "background": 2, "dog": 2}


def test_what_a_sound_is_not_to_be_confused_with_counts_against_that_sound_alone(
    profile: Profile, embedder: Embedder
) -> None:
    before = profile.head(embedder)
    with profile.lock():
        profile.add("-dog", recordings(CLOCKS[:1]), embedder)
    after = profile.head(embedder)
    assert after.sounds == before.sounds == ("dog", "rooster")
    (negative,) = [entry.embeddings for entry in profile.examples(embedder) if entry.sound == "-dog"]
    drop = before.score(negative).mean(axis=0) - after.score(negative).mean(axis=0)
    assert drop[0] > 0.3
    assert abs(drop[1]) < drop[0] / 4


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--from", "empty"], "holds no folders of recordings"),
        (["--from", "nothere"], "there is no folder nothere"),
        (["--from", str(DOGS[0])], "is no folder: say what the sound is"),
        ([], "what is the sound called"),
        (["--not", "--from", "empty"], "what is the sound called"),
        (["dog", "--at", "3"], "name it with --from"),
        (["dog", "--from", "empty", "--at", "3"], "one recording at a time"),
        (["cat", "--not", "--from", str(CLOCKS[0])], "teach that one first"),
        (["noise", "--not", "--from", str(CLOCKS[0])], "told apart from background anyway"),
    ],
)
def test_what_cannot_be_taught_is_a_sentence(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert main(["enrol", *arguments, "--profile", "profile"]) == 1
    assert expected in capsys.readouterr().err
    assert not list(Path("profile").glob("recordings/*"))


def test_a_recording_in_the_profile_says_when_and_from_what_it_was_recorded_and_is_known_again(
    tmp_path: Path, embedder: Embedder
) -> None:
    (clip,) = recordings(DOGS[:1])
    taken = NewRecording(clip.waveform, clip.sample_rate, "the microphone 'USB Audio'", "2026-02-03T04:05:06.000+00:00")
    profile = Profile(tmp_path)
    with profile.lock():
        profile.add("dog", [taken], embedder)
    (entry,) = profile.sounds["dog"]
    path = profile.files.recording(entry.id)
    stored = read_flac(path)
    assert (stored.origin, stored.recorded, stored.id) == (taken.origin, taken.recorded, entry.id)
    assert (entry.origin, entry.recorded) == (taken.origin, taken.recorded)
    assert sf.SoundFile(path).title == "dog"


def test_the_command_that_hears_what_was_taught_names_the_same_profile_and_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, profile = tmp_path / "my model.onnx", tmp_path / "profile"
    model.symlink_to(Path(device_app.__file__).parent / "data" / "model.onnx")
    enrol = ["enrol", "dog", "--from", str(DOGS[0]), "--profile", str(profile)]
    assert main(enrol) == 0
    err = capsys.readouterr().err
    assert "dog: 1 recording added, 1 in all" in err
    assert f"earmark listen --profile {profile}\n" in err
    assert main([*enrol, "--model", str(model)]) == 0
    assert f"earmark listen --profile {profile} --model '{model}'\n" in capsys.readouterr().err


def test_files_are_judged_as_they_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waveform, rate = sf.read(DOGS[0], dtype="float32")
    sf.write(tmp_path / "loud.wav", np.clip(waveform * 20, -1, 1), rate)
    assert main(["enrol", "dog", "--from", str(tmp_path / "loud.wav"), f"--profile={tmp_path}/p"]) == 0
    assert "loud.wav: it is clipped" in capsys.readouterr().err


def test_a_file_that_sounds_like_another_sound_is_told_of(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enrol", "rooster", "--from", str(DOGS[3]), f"--profile={profile.path}"]) == 0
    assert f"{DOGS[3]}: it sounds like 'dog'" in capsys.readouterr().err


def files(profile: Path) -> dict[str, bytes]:
    folders = ("recordings", "embeddings")
    return {str(path): path.read_bytes() for folder in folders for path in (profile / folder).iterdir()}


def test_adding_renaming_and_removing_a_sound_leave_the_others_recordings_as_they_are(
    profile: Profile, embedder: Embedder
) -> None:
    before, folder = files(profile.path), f"--profile={profile.path}"
    assert main(["enrol", "tick", "--from", str(CLOCKS[0]), str(CLOCKS[1]), folder]) == 0
    assert main(["rename", "tick", "clock", folder]) == 0
    assert Profile(profile.path).taught == ["clock", "dog", "rooster"]
    assert Profile(profile.path).head(embedder).sounds == ("clock", "dog", "rooster")
    assert files(profile.path).items() >= before.items()
    assert main(["remove", "clock", folder]) == 0
    assert counts(profile.path) == {"dog": 3, "rooster": 3}
    assert files(profile.path) == before  # the removed one's are gone


def test_removing_the_last_sound_leaves_an_empty_profile_that_can_be_taught_again(profile: Profile) -> None:
    folder = f"--profile={profile.path}"
    assert main(["remove", "dog", "rooster", folder]) == 0
    assert files(profile.path) == {}
    assert main(["listen", "--source", str(DOGS[0]), folder]) == 1
    assert main(["enrol", "dog", "--from", str(DOGS[0]), folder]) == 0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["remove", "cat"], "there is no 'cat'"),
        (["rename", "cat", "puma"], "there is no 'cat'"),
        (["rename", "dog", "rooster"], "already taught"),
        (["rename", "dog", "noise"], "not a sound's name"),
        (["rename", "dog", "../x"], "cannot be a sound's name"),
    ],
)
def test_a_change_that_cannot_be_made_is_a_sentence_and_changes_nothing(
    command: list[str], expected: str, profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (profile.path / "profile.json").read_bytes()
    assert main([*command, f"--profile={profile.path}"]) == 1
    assert expected in capsys.readouterr().err
    assert (profile.path / "profile.json").read_bytes() == before


def test_what_is_set_by_hand_for_a_sound_goes_with_its_name(profile: Profile, embedder: Embedder) -> None:
    from device_app.enrolment.sound_changes import rename_sound
    from device_app.enrolment.sound_settings import SoundSettings

    with profile.lock():
        profile.settings["dog"] = SoundSettings(false_alarms_per_day=2.0)
        rename_sound(profile, "dog", "Rex", embedder)
    assert Profile(profile.path).settings == {"Rex": SoundSettings(false_alarms_per_day=2.0)}


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": 2, "sounds": {"dog": {"recordings": [], "settings": {}}}}',
        '{"schema": 1, "sounds": {"dog": []}}',
    ],
)
def test_a_profile_of_an_earlier_version_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "profile.json").write_text(text)
    assert Index.read(tmp_path / "profile.json") == Index(sounds={"dog": []})


def test_a_profile_of_a_later_version_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text('{"schema": 99, "sounds": {}}')
    with pytest.raises(ProfileError, match="newer earmark"):
        Profile(tmp_path)


def test_pitch_that_matters_holds_for_recordings_that_were_taught_before(
    profile: Profile, embedder: Embedder, tmp_path: Path
) -> None:
    """Whichever was said first, the recordings or that their pitch matters."""
    at_once = Profile(tmp_path / "at_once")
    with at_once.lock():
        at_once.add_groups({"dog": recordings(DOGS[:3])}, embedder, {"pitch": "matters"})
    expected = [entry.embeddings for entry in at_once.examples(embedder)]

    def dogs() -> list[FloatArray]:
        return [entry.embeddings for entry in profile.examples(embedder) if entry.sound == "dog"]

    before = dogs()
    assert not np.allclose(before, expected)
    for pitch, rows in (("matters", expected), ("varies", before)):
        with profile.lock():
            profile.add_groups({"dog": []}, embedder, {"pitch": pitch})
        np.testing.assert_allclose(dogs(), rows, atol=1e-6)
