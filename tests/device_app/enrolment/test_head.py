from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_app.arrays import FloatArray
from device_app.enrolment.discriminant import Background, Family, Taught
from device_app.enrolment.head import Examples, Fit, Head, fit_head
from device_app.enrolment.head_weights import learn_weights
from device_app.enrolment.sound_settings import SoundSettings
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


def fit_all(
    examples: list[Examples],
    background: Sequence[Examples] = (),
    confusable: Sequence[Examples] = (),
    settings: dict[str, SoundSettings] | None = None,
) -> Fit:
    return fit_head(
        examples,
        background=background,
        confusable=confusable,
        bank=BANK,
        head_sizes={"invariant": 5, "sensitive": 3},
        model_id="m",
        recordings=("a:1",),
        settings=settings,
    )


def fit(examples: list[Examples], background: Sequence[Examples] = ()) -> Head:
    return fit_all(examples, background).head


def test_evidence_is_all_discriminants_alike_in_spreads_of_the_bank_above_the_threshold() -> None:
    """Put together from the parts, which have known answers of their own: test_discriminant, test_threshold."""
    examples = taught(3, "bell", "kettle")
    whole = fit_all(examples)
    windows = [entry.as_heard for entry in examples]
    sound = np.repeat([0, 1], 3)
    given = Taught(
        np.stack([entry.embeddings.mean(axis=0) for entry in examples]),
        np.concatenate(windows),
        np.repeat(np.arange(6), [len(rows) for rows in windows]),
        sound,
        np.zeros((0, SIZE), np.float32),
        [np.zeros((0, SIZE), np.float32)] * 2,
    )
    family = Family(given, Background.of(BANK), (slice(0, 5), slice(5, 8), slice(0, 8)))
    alone = [family.fit(np.tile(row, (2, 1))) for row in np.eye(3)]
    shares = learn_weights(np.stack([alone[0].held_out, alone[1].held_out]), whole.owner, sound)
    np.testing.assert_allclose(whole.head_weights, shares)
    weighed = family.fit(np.column_stack([2 * shares, [0, 0]]))
    which = BANK @ weighed.weights.T + weighed.bias
    np.testing.assert_allclose(whole.head.discriminant(BANK), which, atol=1e-3)
    whether = np.mean([BANK @ each.weights.T + each.bias for each in alone], axis=0)
    thresholds = np.array([threshold.score for threshold in whole.thresholds])
    expected = 0.5 * (whether / whether.std(axis=0) - thresholds)
    best, rows = which.argmax(axis=1), np.arange(len(BANK))
    expected = np.minimum(expected, expected[rows, best, None])
    np.testing.assert_allclose(whole.head.score(BANK), expected, atol=1e-3)


def test_a_smaller_budget_of_false_alarms_makes_every_window_speak_less_for_the_sound() -> None:
    usual = fit_all(taught(2, "bell", "dog"))
    strict = fit_all(taught(2, "bell", "dog"), settings={"dog": SoundSettings(false_alarms_per_day=1.0)})
    assert strict.thresholds[1].false_alarms_per_hour == pytest.approx(1 / 24)
    difference = strict.head.score(BANK) - usual.head.score(BANK)
    assert (difference[:, 1] < -0.1).all()
    assert (difference[:, 0] <= 0.0).all()
    assert (difference[:, 0] == 0.0).any()


def test_what_a_sound_must_not_be_confused_with_speaks_against_it_and_for_no_other_less() -> None:
    rng = np.random.default_rng(8)
    alike = Examples("-bell", "alike", around(0, 6, rng) * 0.7 + around(5, 6, rng) * 0.7)
    usual, warned = fit_all(taught(4, "bell", "dog")), fit_all(taught(4, "bell", "dog"), confusable=[alike])
    assert (warned.head.score(alike.embeddings)[:, 0] <= 1e-4).all()
    assert usual.head.score(alike.embeddings)[:, 0].mean() > warned.head.score(alike.embeddings)[:, 0].mean() + 0.1
    np.testing.assert_allclose(warned.thresholds[1].score, usual.thresholds[1].score, atol=0.3)


def test_no_sound_has_more_evidence_than_the_one_with_the_highest_discriminant() -> None:
    """Of the first window the second sound's is, although its threshold leaves it less evidence."""
    eye, zeros = np.eye(2, dtype=np.float32), np.zeros(2, np.float32)
    head = Head(("bell", "dog"), eye, zeros, eye, np.array([0.0, 2.0], np.float32), "m", ())
    evidence = head.score(np.array([[1.0, 0.5], [3.0, 0.5], [-1.0, -4.0]], np.float32))
    np.testing.assert_allclose(evidence, [[0.5, 0.5], [3.0, 0.5], [-1.0, -4.0]], atol=2e-3)
    assert evidence[0, 1] > evidence[0, 0]


def test_held_out_windows_are_those_a_listener_hears() -> None:
    """Every other clean window; a third of an example's windows is clean."""
    whole = fit_all([Examples("bell", str(n), around(0, n, np.random.default_rng(n))) for n in (1, 12, 36)])
    assert np.bincount(whole.owner).tolist() == [1, 2, 6]


def test_one_sound_alone_is_told_from_the_bank() -> None:
    head = fit(taught(1, "bell"))
    assert head.score(around(0, 50, np.random.default_rng(1))).mean() > 0.0
    assert (head.score(BANK) < 0.0).mean() > 0.99


def test_a_recording_of_the_room_lowers_what_the_room_is_taken_for() -> None:
    room = around(0, 30, np.random.default_rng(3))[:, ::-1] * 0.5 + 0.5 * around(0, 30, np.random.default_rng(4))
    room = (room / np.linalg.norm(room, axis=1, keepdims=True)).astype(np.float32)
    without, with_room = fit(taught(3, "bell")), fit(taught(3, "bell"), [Examples("background", "room", room)])
    assert (with_room.score(room) <= 0.0).mean() > 0.95
    assert with_room.score(room).mean() < without.score(room).mean() - 0.3


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
