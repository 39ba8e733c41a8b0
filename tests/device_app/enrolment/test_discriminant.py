import numpy as np
import pytest

from device_app.arrays import FloatArray
from device_app.enrolment.discriminant import Background, Taught, discriminants

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


def scores(given: Taught, windows: FloatArray) -> FloatArray:
    fitted = discriminants(given, Background.of(BANK))
    return windows @ fitted.weights.T + fitted.bias


def test_a_direction_is_fishers_between_a_sounds_mean_and_the_mean_of_everything_else() -> None:
    """Written out: covariance of the bank with three tenths of its mean variance, and twice the pooled scatter."""
    given = taught(*SEVEN)
    means = given.means.astype(np.float64)
    centres = np.stack([means[given.sound == k].mean(axis=0) for k in range(3)])
    bank = BANK.astype(np.float64)
    covariance = np.cov(bank.T, bias=True)
    covariance += 0.3 * np.trace(covariance) / SIZE * np.eye(SIZE)
    covariance += 2.0 * sum(np.outer(d, d) for d in means - centres[given.sound]) / (7 - 3)
    elsewhere = 0.5 * bank.mean(axis=0) + 0.25 * (centres[1] + centres[2])
    direction = np.linalg.solve(covariance, centres[0] - elsewhere)
    fitted = discriminants(given, Background.of(BANK))
    np.testing.assert_allclose(fitted.weights[0], direction, rtol=1e-4)
    assert fitted.bias[0] == pytest.approx(-direction @ (centres[0] + elsewhere) / 2, rel=1e-4)


def test_the_moments_of_some_columns_are_those_of_a_bank_of_these_alone() -> None:
    part, alone = Background.of(BANK).part(slice(1, 4)), Background.of(BANK[:, 1:4])
    np.testing.assert_allclose(part.mean, alone.mean)
    np.testing.assert_allclose(part.covariance, alone.covariance, atol=1e-6)
    assert part.ridge == pytest.approx(alone.ridge)


@pytest.mark.parametrize("left_out", range(7))
def test_a_held_out_score_is_that_of_a_fit_without_the_recording(left_out: int) -> None:
    """To the letter, but for the scatter's divisor, which stays: the fit without is given the same."""
    given = taught(*SEVEN)
    rows = given.owner != left_out
    without = Taught(
        np.delete(given.means, left_out, axis=0),
        given.windows[rows],
        np.unique(given.owner[rows], return_inverse=True)[1],
        np.delete(given.sound, left_out),
        given.room,
        given.confusable,
    )
    background = Background.of(BANK)
    centres = np.stack([without.means[without.sound == k].mean(axis=0) for k in range(3)])
    deviations = without.means - centres[without.sound]
    scatter = (2.0 / 4 - 2.0 / 3) * deviations.T @ deviations  # four degrees of freedom in the whole fit, three without
    literal = discriminants(without, Background(background.mean, background.covariance + scatter, background.ridge))
    windows = given.windows[given.owner == left_out]
    expected = windows @ literal.weights.T + literal.bias
    held_out = discriminants(given, background).held_out[given.owner == left_out]
    np.testing.assert_allclose(held_out, expected, rtol=1e-3, atol=1e-3)


def test_the_only_recording_of_a_sound_has_no_held_out_score_for_it() -> None:
    held_out = discriminants(taught((0, 2), (1, 2), (1, 3)), Background.of(BANK)).held_out
    assert np.isnan(held_out[:2, 0]).all()
    assert np.isfinite(held_out[:2, 1]).all()
    assert np.isfinite(held_out[2:]).all()


def test_one_sound_alone_and_one_recording_alone_are_told_from_the_bank() -> None:
    assert scores(taught((0, 4)), np.eye(SIZE)[:1] * 3)[0, 0] > 0 > scores(taught((0, 4)), BANK).mean()


def test_the_room_is_part_of_everything_else() -> None:
    room = (np.eye(SIZE)[5] * 2 + 0.1 * np.random.default_rng(2).standard_normal((30, SIZE))).astype(np.float32)
    without, beside = taught((0, 3), (0, 3)), taught((0, 3), (0, 3), room=room)
    assert scores(beside, room).mean() < scores(without, room).mean()
