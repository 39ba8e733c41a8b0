import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from device_app.__main__ import main
from device_app.corrections.command import sentences
from device_app.corrections.corrections import Outcome, mark_missed_clip, mark_missed_event, mark_wrong, undo
from device_app.enrolment.profile import Profile
from device_app.enrolment.profile_index import Correction
from device_app.errors import AudioError, ProfileError
from device_app.history.heard_event import HeardEvent
from device_app.history.history import History
from device_app.model.embedder import Embedder
from tests.device_app.taught_profile import CLOCKS, DOGS, heard, recordings


def best(profile: Profile, embedder: Embedder, event: HeardEvent, sound: str) -> float:
    head = profile.head(embedder)
    return float(head.score(event.embeddings)[:, head.sounds.index(sound)].max())


def test_a_wrong_event_is_not_taken_for_the_sound_any_more_and_the_clips_still_are(
    profile: Profile, embedder: Embedder
) -> None:
    event = heard(embedder, CLOCKS[0], "dog")
    before = best(profile, embedder, event, "dog")
    with profile.lock():
        outcome = mark_wrong(profile, event, embedder)
    assert best(Profile(profile.path), embedder, event, "dog") < min(before - 0.3, 0.0)
    assert (outcome.heeded, outcome.n_right, outcome.n_checked, outcome.worse) == (True, 6, 6, ())


def test_an_event_that_was_another_sound_teaches_that_one(profile: Profile, embedder: Embedder) -> None:
    event = heard(embedder, DOGS[3], "rooster")
    before = best(profile, embedder, event, "dog"), best(profile, embedder, event, "rooster")
    with profile.lock():
        outcome = mark_missed_event(profile, "dog", event, embedder)
    assert outcome.heeded
    assert best(profile, embedder, event, "dog") > max(before[0], 0.0)
    assert best(profile, embedder, event, "rooster") < before[1]


def test_a_clip_that_was_missed_becomes_a_recording_of_the_sound(profile: Profile, embedder: Embedder) -> None:
    (clip,) = recordings(DOGS[3:4])
    with profile.lock():
        outcome = mark_missed_clip(profile, "dog", clip, embedder)
    assert outcome.correction.recording == clip.id
    assert clip.id in {entry.id for entry in Profile(profile.path).sounds["dog"]}
    assert profile.files.recording(clip.id).exists()


@pytest.mark.parametrize("kind", ["wrong", "missed event", "missed clip"])
def test_undo_brings_the_head_back_and_keeps_the_history(kind: str, profile: Profile, embedder: Embedder) -> None:
    before = profile.head(embedder)
    sounds = json.loads((profile.path / "profile.json").read_text())["sounds"]
    event = heard(embedder, CLOCKS[0], "dog")
    with profile.lock():
        if kind == "wrong":
            mark_wrong(profile, event, embedder)
        elif kind == "missed event":
            mark_missed_event(profile, "dog", event, embedder)
        else:
            mark_missed_clip(profile, "dog", recordings(DOGS[3:4])[0], embedder)
        assert not np.array_equal(profile.head(embedder).weights, before.weights)
        outcome = undo(profile, embedder)
    after = Profile(profile.path)
    np.testing.assert_allclose(after.head(embedder).weights, before.weights, atol=1e-6)
    assert json.loads((profile.path / "profile.json").read_text())["sounds"] == sounds
    (entry,) = after.index.corrections
    assert entry == outcome.correction
    assert entry.undone is not None
    assert not list((profile.path / "events").glob("*"))
    assert len(list((profile.path / "recordings").glob("*"))) == 6
    with pytest.raises(ProfileError, match="no correction to undo"), profile.lock():
        undo(profile, embedder)


def test_corrections_are_undone_the_last_one_first_and_one_may_be_made_again(
    profile: Profile, embedder: Embedder
) -> None:
    events = [heard(embedder, path, "dog", f"e{i}") for i, path in enumerate(CLOCKS[:2])]
    with profile.lock():
        for event in events:
            mark_wrong(profile, event, embedder)
        assert undo(profile, embedder).correction.event == "e1"
        mark_wrong(profile, events[1], embedder)
        assert [entry.undone is None for entry in profile.index.corrections] == [True, False, True]
        assert undo(profile, embedder).correction.event == "e1"
        assert undo(profile, embedder).correction.event == "e0"


def test_what_gets_worse_is_named(profile: Profile, embedder: Embedder) -> None:
    # A person says of every window of a dog's recording that it was no dog.
    (clip,) = recordings(DOGS[:1])
    own = next(entry.embeddings for entry in profile.examples(embedder) if entry.recording == clip.id)
    with profile.lock():
        outcome = mark_wrong(profile, replace(heard(embedder, DOGS[0], "dog"), embeddings=own), embedder)
    assert outcome.worse
    assert set(outcome.worse) <= {f"{path.name} is no longer taken for dog" for path in DOGS[:3]}
    assert outcome.n_right < outcome.n_right_before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_id": "other"}, "was heard with model other"),
        ({"sound": "cat"}, "'cat' is not taught"),
        ({"embeddings": np.zeros((0, 960), np.float32)}, "too old"),
        ({"id": "../../x"}, "too old"),
    ],
)
def test_an_event_that_nothing_can_be_learned_from_is_a_sentence_and_changes_nothing(
    change: dict[str, object], expected: str, profile: Profile, embedder: Embedder
) -> None:
    before = {path: path.read_bytes() for path in profile.path.rglob("*") if path.is_file()}
    event = replace(heard(embedder, CLOCKS[0], "dog"), **change)  # type: ignore[arg-type]
    with pytest.raises(ProfileError, match=expected), profile.lock():
        mark_wrong(profile, event, embedder)
    assert {path: path.read_bytes() for path in before} == before


def test_the_same_event_cannot_be_corrected_twice(profile: Profile, embedder: Embedder) -> None:
    event = heard(embedder, CLOCKS[0], "dog")
    with profile.lock():
        mark_wrong(profile, event, embedder)
        with pytest.raises(ProfileError, match="corrected already"):
            mark_missed_event(profile, "rooster", event, embedder)


def test_a_missed_clip_that_is_silent_leaves_nothing_behind(profile: Profile, embedder: Embedder) -> None:
    silent = replace(recordings(DOGS[3:4])[0], waveform=np.zeros(16000, np.float32))
    with pytest.raises(AudioError, match="silent"), profile.lock():
        mark_missed_clip(profile, "dog", silent, embedder)
    assert len(list((profile.path / "recordings").glob("*"))) == 6
    assert Profile(profile.path).index.corrections == []


def test_corrections_go_with_a_sound_that_is_renamed_or_removed(profile: Profile, embedder: Embedder) -> None:
    from device_app.enrolment.sound_changes import remove_sounds, rename_sound

    with profile.lock():
        mark_wrong(profile, heard(embedder, CLOCKS[0], "dog"), embedder)
        rename_sound(profile, "dog", "Rex", embedder)
        assert [entry.sound for entry in profile.index.corrections] == ["Rex"]
        remove_sounds(profile, ["Rex"], embedder)
    assert Profile(profile.path).index.corrections == []
    assert not list((profile.path / "events").glob("*"))


def test_the_commands_correct_the_last_event_list_it_and_take_it_back(
    profile: Profile, embedder: Embedder, history: list[HeardEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f"--profile={profile.path}"
    history.append(heard(embedder, CLOCKS[0], "dog", "5f1e"))
    assert main(["wrong", folder]) == 0
    err = capsys.readouterr().err
    assert "learned: that event 5f1e was not dog" in err
    assert "6 of 6 earlier recordings and corrections are taken for what they are; none got worse" in err
    assert main(["wrong", "5f1e", folder]) == 1
    assert "corrected already" in capsys.readouterr().err
    assert main(["undo", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["correction"]["event"] == "5f1e"
    assert main(["missed", "rooster", "--from", "last", folder]) == 0
    assert main(["missed", "dog", "--from", str(DOGS[4]), folder]) == 0
    capsys.readouterr()
    assert main(["corrections", "--json", folder]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["kind"], line["sound"], line["undone"] is None) for line in lines] == [
        ("wrong", "dog", False),
        ("missed", "rooster", True),
        ("missed", "dog", True),
    ]
    assert main(["corrections", folder]) == 0
    assert "not dog" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["flag", "config.toml", "variable"])
@pytest.mark.parametrize("command", [["wrong"], ["missed", "rooster", "--from", "last"]])
def test_events_are_found_in_the_history_that_listen_was_told_to_keep(
    where: str,
    command: list[str],
    profile: Profile,
    embedder: Embedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "elsewhere.sqlite3"
    event = heard(embedder, CLOCKS[0], "dog", "5f1e")
    line = {"id": event.id, "time": event.time, "sound": event.sound, "score": event.score}
    History(file).record(line, event.model_id, event.embeddings)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("EARMARK_HISTORY", raising=False)
    common = [*command, f"--profile={profile.path}"]
    assert main(common) == 1
    assert "name that with --history" in capsys.readouterr().err
    if where == "flag":
        common.append(f"--history={file}")
    elif where == "variable":
        monkeypatch.setenv("EARMARK_HISTORY", str(file))
    else:
        config = tmp_path / "config" / "earmark" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f"[listen]\nhistory = {json.dumps(str(file))}\n")
    assert main([*common, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["correction"]["event"] == "5f1e"


def test_an_unknown_event_is_a_sentence(
    profile: Profile, history: list[HeardEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wrong", "77", f"--profile={profile.path}"]) == 1
    assert "there is no event 77" in capsys.readouterr().err
    assert main(["wrong", f"--profile={profile.path}"]) == 1
    assert "nothing was heard yet" in capsys.readouterr().err


def test_what_was_not_heeded_or_got_worse_is_said_in_words() -> None:
    correction = Correction(kind="wrong", sound="dog", event="e1", recording=None, time="now")
    outcome = Outcome(correction, False, 6, 5, 6, ("a.wav is no longer taken for dog",))
    first, second = sentences(outcome)
    assert "it still sounds like dog" in first
    assert second == (
        "5 of 6 earlier recordings and corrections are taken for what they are; 1 got worse: "
        "a.wav is no longer taken for dog. `earmark undo` takes it back"
    )


def test_corrections_survive_a_refit_with_another_model_by_being_left_out(
    profile: Profile, embedder: Embedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from device_app.model.embedder import load_embedder
    from tests.device_app.tiny_model import write_tiny_model

    with profile.lock():
        mark_wrong(profile, heard(embedder, CLOCKS[0], "dog"), embedder)
        profile.refit(load_embedder(write_tiny_model(tmp_path / "tiny.onnx")))
    assert "heard with another model" in caplog.text


def test_a_recording_that_is_not_there_is_not_taken_for_an_event(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["missed", "dog", "--from", "nofile.wav", "--profile", str(profile.path)]) == 1
    assert "cannot read nofile.wav: no such file; name a recording, an event's id" in capsys.readouterr().err


def test_a_missed_recording_that_is_too_long_is_named_with_a_way_to_find_the_sound_in_it(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "day.wav"
    sf.write(path, np.full(61 * 8000, 0.1, np.float32), 8000)
    assert main(["missed", "dog", "--from", str(path), "--profile", str(profile.path)]) == 1
    assert capsys.readouterr().err == (
        f"error: {path} is 61 s long, more than 60 s: name the moments of the sound with --at, or find them with "
        "`earmark enrol --propose`\n"
    )
