import numpy as np
import pytest

from device_app.arrays import FloatArray
from device_app.enrolment.head import Examples
from device_app.recordings.neighbours import Neighbours

SIZE = 64
RNG = np.random.default_rng(0)
BANK = RNG.standard_normal((500, SIZE)).astype(np.float32)
BANK /= np.linalg.norm(BANK, axis=1, keepdims=True)
CENTRES = {name: RNG.standard_normal(SIZE) for name in ("dog", "bell", "kettle")}


def recording(sound: str, number: int, like: str | None = None) -> Examples:
    """Four windows around the centre of a sound."""
    rng = np.random.default_rng([number, len(sound)])
    rows: FloatArray = (CENTRES[like or sound] + 0.5 * rng.standard_normal((4, SIZE))).astype(np.float32)
    return Examples(sound, f"{sound}{number}", rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.fixture
def taught() -> Neighbours:
    sounds = [recording(sound, number) for sound in ("dog", "bell") for number in range(4)]
    room = Examples("background", "room", recording("kettle", 9).embeddings)
    return Neighbours(BANK, [*sounds, room])


def test_a_recording_like_its_siblings_has_no_finding(taught: Neighbours) -> None:
    assert taught.judge(recording("dog", 9)) == []


def test_a_recording_that_was_added_already_is_not_its_own_sibling(taught: Neighbours) -> None:
    stray = recording("dog", 9, like="kettle")
    taught.add(stray)
    assert [finding.code for finding in taught.judge(stray)] == ["unlike"]


def test_a_recording_of_another_taught_sound_names_that_one(taught: Neighbours) -> None:
    (finding,) = taught.judge(recording("dog", 9, like="bell"))
    assert finding.code == "sounds_like"
    assert "'bell'" in finding.sentence


def test_the_first_recording_of_a_sound_is_compared_with_the_sounds_there_are(taught: Neighbours) -> None:
    assert taught.judge(recording("kettle", 0)) == []
    exact = Examples("kettle", "k", np.concatenate([recording("bell", n).embeddings for n in range(4)]))
    assert [finding.code for finding in taught.judge(exact)] == ["sounds_like"]


def test_a_recording_that_is_taken_back_is_compared_with_no_longer(taught: Neighbours) -> None:
    for number in range(4):
        taught.remove("bell", f"bell{number}")
    assert [finding.code for finding in taught.judge(recording("dog", 9, like="bell"))] == ["unlike"]


def test_background_is_nobodys_neighbour(taught: Neighbours) -> None:
    assert [finding.code for finding in taught.judge(recording("dog", 9, like="kettle"))] == ["unlike"]
