import numpy as np
import pytest
from numpy.typing import NDArray

from device_app.enrolment.discriminant import Discriminants
from device_app.enrolment.head_weights import as_high, in_words, learn_weights, set_by_hand
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import ProfileError

HEADS = ("invariant", "sensitive", "words")
N_SOUNDS = 4


def recordings(n_each: int = 5) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The recording of each window, and the sound of each recording."""
    return np.repeat(np.arange(N_SOUNDS * n_each), 2), np.repeat(np.arange(N_SOUNDS), n_each)


def held_out(*separation: float, n_each: int = 5, seed: int = 3) -> NDArray[np.float64]:
    """Scores of windows in heads that tell the sounds apart so many standard deviations."""
    rng = np.random.default_rng(seed)
    owner, sound = recordings(n_each)
    own = np.eye(N_SOUNDS)[sound[owner]]
    return np.stack([s * own + rng.standard_normal((len(owner), N_SOUNDS)) for s in separation])


def test_a_head_that_tells_the_sounds_apart_outweighs_those_that_do_not() -> None:
    weights = learn_weights(held_out(0.0, 2.0, 0.0), *recordings())
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert (weights[:, 1] > 0.6).all()


def test_heads_that_all_tell_the_sounds_apart_keep_about_equal_weights() -> None:
    weights = learn_weights(held_out(6.0, 6.0, 6.0), *recordings())
    assert weights == pytest.approx(np.full((N_SOUNDS, 3), 1 / 3), abs=0.15)


def test_what_five_recordings_say_by_chance_leaves_the_weights_nearly_equal() -> None:
    """Heads that are equally good, and often wrong: what tells them apart in so few recordings is noise."""
    drawn = [learn_weights(held_out(0.7, 0.7, 0.7, seed=seed), *recordings()) for seed in range(20)]
    assert np.mean([np.abs(weights - 1 / 3).max() for weights in drawn]) < 0.2


def test_a_sound_has_its_own_weights() -> None:
    """The first sound is told apart by the second head, and the others by the first."""
    scores = held_out(2.0, 0.0, 0.0, n_each=15)
    owner, sound = recordings(15)
    first = sound[owner] == 0
    scores[:2, first] = scores[1::-1, first]
    weights = learn_weights(scores, owner, sound)
    assert weights[0, 1] > weights[1:, 1].max()
    assert weights[0, 0] < weights[1:, 0].min()


def test_one_sound_or_single_recordings_leave_the_weights_equal() -> None:
    one = learn_weights(np.ones((3, 4, 1)), np.array([0, 0, 1, 1]), np.array([0, 0]))
    np.testing.assert_array_equal(one, np.full((1, 3), 1 / 3))
    unknown = np.ones((3, 2, 2))
    unknown[:, [0, 1], [0, 1]] = np.nan
    np.testing.assert_array_equal(learn_weights(unknown, np.arange(2), np.arange(2)), np.full((2, 3), 1 / 3))


@pytest.mark.parametrize(
    ("settings", "head"),
    [
        (SoundSettings(same="word"), 2),
        (SoundSettings(same="speaker"), 1),
        (SoundSettings(pitch="matters"), 1),
        (SoundSettings(pitch="varies"), 0),
    ],
)
def test_what_is_set_by_hand_has_a_quarter_of_the_weight_beside_what_it_has(settings: SoundSettings, head: int) -> None:
    weights = set_by_hand(np.full((2, 3), 1 / 3), ("bell", "dog"), HEADS, {"dog": settings})
    assert weights[0] == pytest.approx([1 / 3] * 3)
    assert weights[1, head] == pytest.approx(0.25 + 0.75 / 3)


def test_the_heads_that_a_setting_stands_for_share_the_weight() -> None:
    heads = ("words", "voice", "spectrum")
    weights = set_by_hand(np.full((1, 3), 1 / 3), ("ann",), heads, {"ann": SoundSettings(same="speaker")})
    assert weights[0] == pytest.approx([0.75 / 3, 0.125 + 0.75 / 3, 0.125 + 0.75 / 3])


def test_a_discriminant_with_weights_by_hand_is_as_high_for_its_own_sound_as_with_learned_ones() -> None:
    """The sound that is heard by the lowest head alone must not lose to the others for that."""
    owner, sound = recordings()
    own = sound[owner]

    def high(*heights: float) -> Discriminants:
        factors = np.array(heights)
        return Discriminants(np.eye(N_SOUNDS) * factors[:, None], factors, np.eye(N_SOUNDS)[own] * factors)

    chosen, learned = high(2.0, 3.0, -1.0, 5.0), high(6.0, 3.0, 4.0, 5.0)
    chosen.held_out[:, 3] = np.nan  # of a sound that was recorded once nothing is known
    raised = as_high(chosen, learned, own)
    np.testing.assert_allclose(raised.bias, [6.0, 3.0, -1.0, 5.0])
    np.testing.assert_allclose(np.diag(raised.weights), raised.bias)
    np.testing.assert_allclose(raised.held_out[own == 0, 0], 6.0)


def test_a_setting_that_the_model_has_no_head_for_is_a_sentence() -> None:
    with pytest.raises(ProfileError, match=r"--same word needs a head 'words', and this model has what, how"):
        set_by_hand(np.full((1, 2), 0.5), ("bell",), ("what", "how"), {"bell": SoundSettings(same="word")})


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((0.3, 0.4, 0.3), "everything about it counts alike"),
        ((0.2, 0.6, 0.2), "pitch and tempo matter"),
        ((0.3, 0.1, 0.6), "the word counts, not who says it; its pitch may vary"),
    ],
)
def test_weights_are_said_in_words(weights: tuple[float, ...], words: str) -> None:
    assert in_words(np.array(weights), HEADS) == words
