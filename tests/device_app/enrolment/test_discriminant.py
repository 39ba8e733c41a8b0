from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from device_app.arrays import FloatArray
from device_app.enrolment.discriminant import Background, Discriminants, Family, Taught

SIZE = 6
BANK = np.random.default_rng(0).standard_normal((200, SIZE)).astype(np.float32) + 0.3


def taught(*n_windows: tuple[int, int], room: FloatArray | None = None) -> Taught:
    """Recordings as (sound, number of windows)."""
    rng = np.random.default_rng(1)
    n_sounds = max(sound for sound, _ in n_windows) + 1
    parts = [np.eye(SIZE)[sound] * 3 + rng.standard_normal((n, SIZE)) for sound, n in n_windows]
    return Taught(
        np.stack([part.mean(axis=0) for part in parts]).astype(np.float32),
        np.concatenate(parts).astype(np.float32),
        np.repeat(np.arange(len(parts)), [n for _, n in n_windows]),
        np.array([sound for sound, _ in n_windows]),
        np.zeros((0, SIZE), np.float32) if room is None else room,
        [np.zeros((0, SIZE), np.float32)] * n_sounds,
    )


SEVEN = ((0, 3), (0, 5), (1, 2), (1, 4), (1, 3), (2, 6), (2, 1))


WHOLE = (slice(0, SIZE),)
TWO = (slice(0, 4), slice(4, SIZE))


def fit(given: Taught, shares: Sequence[float] = (1.0,), parts: Sequence[slice] = WHOLE) -> Discriminants:
    """With the same shares for all sounds."""
    rows = np.tile(np.array(shares), (int(given.sound.max()) + 1, 1))
    return Family(given, Background.of(BANK), parts).fit(rows)


def scores(given: Taught, windows: NDArray[np.floating]) -> NDArray[np.floating]:
    fitted = fit(given)
    return windows @ fitted.weights.T + fitted.bias


def noise(*blocks: tuple[slice, float]) -> NDArray[np.float64]:
    """Written out: the bank's covariance in each part with three tenths of its mean variance, by the part's share."""
    whole = np.zeros((SIZE, SIZE))
    for part, share in blocks:
        covariance = np.cov(BANK[:, part].astype(np.float64).T, bias=True)
        ridge = 0.3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        whole[part, part] = (covariance + ridge) / share
    return whole


def literal(given: Taught, noise: NDArray[np.float64], scatter: float) -> Discriminants:
    """Fisher's discriminants of three sounds, written out; scores of the own windows are not held out."""
    means, bank = given.means.astype(np.float64), BANK.astype(np.float64).mean(axis=0)
    centres = np.stack([means[given.sound == k].mean(axis=0) for k in range(3)])
    deviations = means - centres[given.sound]
    elsewhere = np.stack([0.5 * bank + 0.5 * np.delete(centres, k, axis=0).mean(axis=0) for k in range(3)])
    weights = np.linalg.solve(noise + scatter * deviations.T @ deviations, (centres - elsewhere).T).T
    bias = -np.sum(weights * (centres + elsewhere), axis=1) / 2
    return Discriminants(weights, bias, given.windows @ weights.T + bias)


@pytest.mark.parametrize(
    ("parts", "shares"),
    [(WHOLE, (1.0,)), (TWO, (1.0, 1.0)), (TWO, (0.5, 1.5)), (TWO, (0.0, 1.0)), (TWO * 2, (0, 0, 2, 1))],
)
def test_a_direction_is_fishers_between_a_sounds_mean_and_the_mean_of_everything_else(
    parts: Sequence[slice], shares: Sequence[float]
) -> None:
    """With a tiny share instead of none, as written out the noise would have no end."""
    given = taught(*SEVEN)
    expected = literal(given, noise(*zip(parts, np.maximum(shares, 1e-9), strict=True)), 2.0 / (7 - 3))
    fitted = fit(given, shares, parts)
    np.testing.assert_allclose(fitted.weights, expected.weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fitted.bias, expected.bias, rtol=1e-4)


def test_each_sound_has_shares_of_its_own() -> None:
    given, shares = taught(*SEVEN), np.array([[0.5, 1.5], [1.0, 1.0], [0.5, 1.5]])
    fitted = Family(given, Background.of(BANK), TWO).fit(shares)
    for k, row in enumerate(shares):
        alike = fit(given, row, TWO)
        np.testing.assert_allclose(fitted.weights[k], alike.weights[k])
        np.testing.assert_allclose(fitted.held_out[:, k], alike.held_out[:, k])


@pytest.mark.parametrize(("parts", "shares"), [(WHOLE, (1.0,)), (TWO, (0.5, 1.5))])
@pytest.mark.parametrize("left_out", range(7))
def test_a_held_out_score_is_that_of_a_fit_without_the_recording(
    left_out: int, parts: Sequence[slice], shares: Sequence[float]
) -> None:
    """To the letter, but for the scatter's divisor, which stays that of four degrees of freedom in the whole fit."""
    given = taught(*SEVEN)
    without = replace(given, means=np.delete(given.means, left_out, axis=0), sound=np.delete(given.sound, left_out))
    expected = literal(without, noise(*zip(parts, shares, strict=True)), 2.0 / 4).held_out[given.owner == left_out]
    held_out = fit(given, shares, parts).held_out[given.owner == left_out]
    np.testing.assert_allclose(held_out, expected, rtol=1e-3, atol=1e-3)


def test_the_only_recording_of_a_sound_has_no_held_out_score_for_it() -> None:
    held_out = fit(taught((0, 2), (1, 2), (1, 3))).held_out
    assert np.isnan(held_out[:2, 0]).all()
    assert np.isfinite(held_out[:2, 1]).all()
    assert np.isfinite(held_out[2:]).all()


def test_one_sound_alone_and_one_recording_alone_are_told_from_the_bank() -> None:
    assert scores(taught((0, 4)), np.eye(SIZE)[:1] * 3)[0, 0] > 0 > scores(taught((0, 4)), BANK).mean()


def test_the_room_is_part_of_everything_else() -> None:
    room = (np.eye(SIZE)[5] * 2 + 0.1 * np.random.default_rng(2).standard_normal((30, SIZE))).astype(np.float32)
    without, beside = taught((0, 3), (0, 3)), taught((0, 3), (0, 3), room=room)
    assert scores(beside, room).mean() < scores(without, room).mean()
