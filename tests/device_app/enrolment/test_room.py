import json
from pathlib import Path

import numpy as np
import pytest

from device_app.__main__ import main
from device_app.arrays import FloatArray
from device_app.capture import Capture, MicrophoneSource
from device_app.enrolment.profile import Profile
from device_app.model.embedder import Embedder
from device_app.room.room import Room, clear_room, read_room
from tests.device_app.taught_profile import CLOCKS, DOGS, heard

SIZE = 8


def unit(*, seed: int) -> FloatArray:
    row = np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)
    return row / np.linalg.norm(row)


def marked(number: int) -> FloatArray:
    """A row that tells its number, in 16 steps of its first value."""
    row = np.zeros(SIZE, np.float32)
    row[:2] = 1.0, number / 127.0
    return row


def numbers(profile: Path) -> list[int]:
    room = read_room(profile)
    assert room is not None
    return [int(row[1]) for row in room.rows]


def collect(profile: Path, first: int, n: int, *, seed: int, capacity: int = 10) -> None:
    room = Room(profile, "m", np.random.default_rng(seed), capacity=capacity)
    for number in range(first, first + n):
        room.offer(marked(number))
    room.save()


def test_what_is_read_back_is_close_to_what_was_offered(tmp_path: Path) -> None:
    room = Room(tmp_path, "m", np.random.default_rng(0))
    rows = np.stack([unit(seed=seed) for seed in range(50)])
    for row in rows:
        room.offer(row)
    room.save()
    stored = read_room(tmp_path)
    assert stored is not None
    assert stored.rows.dtype == np.int8
    np.testing.assert_allclose(np.sum(stored.sample(100) * rows, axis=1), 1.0, atol=1e-3)


def test_no_more_is_kept_than_there_is_room_for(tmp_path: Path) -> None:
    collect(tmp_path, 0, 120, seed=0)
    stored = read_room(tmp_path)
    assert stored is not None
    assert (len(stored.rows), stored.n_seen) == (10, 120)
    assert len(stored.sample(4)) == 4  # every third of the ten


def test_every_window_is_as_likely_to_be_kept_whether_it_was_heard_first_or_last_and_by_whichever_process(
    tmp_path: Path,
) -> None:
    counts = np.zeros(60)
    for draw in range(400):
        profile = tmp_path / str(draw)
        collect(profile, 0, 20, seed=3 * draw)  # one listener hears 20 windows, another 40
        collect(profile, 20, 40, seed=3 * draw + 1)
        counts[numbers(profile)] += 1
    assert counts.sum() == 400 * 10
    # Each is kept with probability 1/6: 66.7 of 400 times, with a standard deviation of 7.5.
    assert np.abs(counts - 400 / 6).max() < 4 * 7.5
    assert abs(counts[:20].mean() - counts[20:].mean()) < 4 * 7.5 * np.sqrt(1 / 20 + 1 / 40)


def test_a_room_that_is_cleared_while_another_process_listens_does_not_come_back(tmp_path: Path) -> None:
    room = Room(tmp_path, "m", np.random.default_rng(0), capacity=10)
    for number in range(5):
        room.offer(marked(number))
    room.save()
    clear_room(tmp_path)
    room.offer(marked(7))
    room.save()
    assert numbers(tmp_path) == [7]


def test_a_room_heard_with_another_model_is_begun_anew(tmp_path: Path) -> None:
    collect(tmp_path, 0, 5, seed=0)
    room = Room(tmp_path, "other", np.random.default_rng(0))
    room.offer(marked(9))
    room.save()
    assert numbers(tmp_path) == [9]


def test_a_damaged_room_is_begun_anew(tmp_path: Path) -> None:
    collect(tmp_path, 0, 5, seed=0)
    path = tmp_path / "room" / "embeddings.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert read_room(tmp_path) is None
    collect(tmp_path, 9, 1, seed=0)
    assert numbers(tmp_path) == [9]


def test_what_the_room_sounds_like_is_a_negative_of_every_sound(profile: Profile, embedder: Embedder) -> None:
    event = heard(embedder, CLOCKS[0], "dog")
    before = profile.head(embedder).score(event.embeddings).max()
    room = Room(profile.path, embedder.metadata.model_id, np.random.default_rng(0))
    for embedding in np.repeat(event.embeddings, 100, axis=0):
        room.offer(embedding)
    room.save()
    assert profile.refit(embedder).score(event.embeddings).max() < before - 0.3


def test_the_command_listens_shows_and_clears_and_keeps_no_audio(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f"--profile={profile.path}"
    before = profile.path.joinpath("head.npz").read_bytes()
    assert main(["room", "--show", folder]) == 0
    assert "nothing is known" in capsys.readouterr().out
    assert main(["room", "--source", str(CLOCKS[0]), folder]) == 0
    assert "no audio was kept" in capsys.readouterr().err
    assert main(["room", "--show", "--json", folder]) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["n_kept"] == known["n_seen"] > 0
    assert sorted(path.name for path in (profile.path / "room").iterdir()) == [".lock", "embeddings.npz"]
    assert profile.path.joinpath("head.npz").read_bytes() != before
    assert main(["room", "--clear", folder]) == 0
    assert read_room(profile.path) is None


def test_what_sounds_like_a_taught_sound_is_no_part_of_the_room(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["room", "--source", str(DOGS[0]), f"--profile={profile.path}"]) == 0
    assert "left out: they sound like what is taught" in capsys.readouterr().err


def test_a_microphone_that_is_not_there_is_a_sentence_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def watched(source: MicrophoneSource, *, retry: bool, must_start: bool) -> Capture:
        return Capture(source, retry=retry, must_start=must_start)  # without must_start it would wait for ever

    monkeypatch.setattr("device_app.room.command.Capture", watched)
    arguments = ["room", "--minutes", "0.01", "--device", "no such microphone", "--profile", str(tmp_path)]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("error: ")
