from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from device_app.arrays import FloatArray
from device_app.enrolment.head import Examples, Head, fit_head
from device_app.errors import ProfileError

SIZE = 8


def around(centre: int, n_windows: int, rng: np.random.Generator) -> FloatArray:
    """Unit rows near one axis."""
    rows = 0.2 * rng.standard_normal((n_windows, SIZE))
    rows[:, centre] += 1.0
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def taught(n_recordings: int, *sounds: str) -> list[Examples]:
    """Recordings of different lengths; the first sound lies near the first axis, and so on."""
    rng = np.random.default_rng(7)
    return [
        Examples(sound, f"{sound}{k}", around(i, 3 + 4 * k, rng))
        for i, sound in enumerate(sounds)
        for k in range(n_recordings)
    ]


BANK = np.concatenate([around(axis, 40, np.random.default_rng(axis)) for axis in (5, 6, 7)])


def fit(examples: list[Examples], background: list[Examples] | None = None) -> Head:
    return fit_head(examples, background=background or [], bank=BANK, model_id="m", recordings=("a:1",))


def test_a_head_is_the_logistic_regression_of_recordings_that_weigh_the_same_less_the_prior_odds() -> None:
    """The minimum of the loss written out, found by scipy: each side and its recordings weigh alike, odds 1:10."""
    examples = taught(3, "bell", "kettle")
    head = fit(examples)
    own = [entry.embeddings for entry in examples if entry.sound == "bell"]
    others = [entry.embeddings for entry in examples if entry.sound == "kettle"]
    rows = np.concatenate([*own, *others, BANK]).astype(np.float64)
    signs = np.concatenate([np.ones(sum(map(len, own))), -np.ones(sum(map(len, others)) + len(BANK))])
    shares = [*(np.full(len(part), 1 / 6 / len(part)) for part in own)]
    shares += [np.full(len(part), 1 / 12 / len(part)) for part in others]
    weight = np.concatenate([*shares, np.full(len(BANK), 1 / 4 / len(BANK))]) * len(rows)

    def loss(x: NDArray[np.float64]) -> float:
        return float(0.5 * x[:SIZE] @ x[:SIZE] + 3.0 * weight @ np.logaddexp(0.0, -signs * (rows @ x[:SIZE] + x[SIZE])))

    best = minimize(loss, np.zeros(SIZE + 1), method="BFGS", options={"gtol": 1e-6}).x
    np.testing.assert_allclose(head.weights[0], best[:SIZE], atol=0.02)
    assert head.bias[0] == pytest.approx(best[SIZE] + np.log(0.1), abs=0.02)
    np.testing.assert_allclose(head.score(own[0])[:, 0], own[0] @ best[:SIZE] + best[SIZE] - np.log(10.0), atol=0.05)


def test_one_sound_alone_is_told_from_the_bank() -> None:
    head = fit(taught(1, "bell"))
    assert head.score(around(0, 50, np.random.default_rng(1))).mean() > 0.0
    assert (head.score(BANK) < 0.0).all()


def test_a_recording_of_the_room_lowers_what_the_room_is_taken_for() -> None:
    room = around(0, 30, np.random.default_rng(3))[:, ::-1] * 0.5 + 0.5 * around(0, 30, np.random.default_rng(4))
    room = (room / np.linalg.norm(room, axis=1, keepdims=True)).astype(np.float32)
    without, with_room = fit(taught(3, "bell")), fit(taught(3, "bell"), [Examples("background", "room", room)])
    assert with_room.score(room).mean() < without.score(room).mean() - 1.0


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_in_which_sounds_were_taught_is_irrelevant(order: list[int]) -> None:
    examples = taught(2, "bell", "dog", "kettle")
    head, shuffled = fit(examples), fit([examples[i] for i in order])
    assert shuffled.sounds == head.sounds == ("bell", "dog", "kettle")
    np.testing.assert_allclose(shuffled.score(BANK), head.score(BANK), atol=0.02)


def test_a_saved_head_scores_as_before(tmp_path: Path) -> None:
    head = fit(taught(2, "bell", "kettle"))
    head.save(tmp_path / "head.npz")
    loaded = Head.load(tmp_path / "head.npz")
    assert (loaded.sounds, loaded.model_id, loaded.recordings) == (("bell", "kettle"), "m", ("a:1",))
    np.testing.assert_array_equal(loaded.score(BANK), head.score(BANK))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut", b"not a zip"])
def test_a_damaged_head_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "head.npz").write_bytes(content)
    with pytest.raises(ProfileError, match="missing or damaged: run `earmark refit`"):
        Head.load(tmp_path / "head.npz")
