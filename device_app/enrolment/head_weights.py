"""How much each head of the network counts for each sound: learned from its recordings, or set by hand."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import ProfileError

_LOOSENESS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How freely the weights leave equal shares: widths of their prior, of which the recordings choose."""
_TOGETHER = 10.0
"""The same for what the heads share, which is to be free."""
_OWN_AFTER = 50.0
"""Recordings of a sound after which its own weights count as much as those of all sounds together."""
_BY_HAND = 0.25
"""Share of the heads that are chosen by hand. More tells the sounds better from each other, but one head tells speech
from a word less well than all do, and so less is heard: `docs/ENROLMENT.md`."""

_HEAVY = 1.3
"""Times an equal share from which on a head is spoken of."""

_CHOSEN = {
    ("same", "word"): (("words",),),
    ("same", "speaker"): (("voice", "spectrum"), ("sensitive",)),
    ("pitch", "matters"): (("spectrum", "movement", "sensitive"),),
    ("pitch", "varies"): (("invariant",),),
}
"""Heads that a setting stands for: those of the first group of which the model has any share the weight."""

_IN_WORDS = {
    "invariant": "what it is counts, at any pitch and tempo",
    "sensitive": "pitch and tempo matter",
    "distilled": "its overall character counts",
    "events": "the kind of event counts",
    "words": "the word counts, not who says it",
    "voice": "who speaks counts, not what is said",
    "spectrum": "its colour counts",
    "movement": "how it moves counts",
}

Float64Array = NDArray[np.float64]


def learn_weights(held_out: Float64Array, owner: NDArray[np.int64], sound: NDArray[np.int64]) -> Float64Array:
    """Weights of the heads for each sound, such that each recording scores highest for its own sound.

    A conditional logit (McFadden 1974) chooses between the sounds by the weighed scores of discriminants that have not
    seen the recording; a normal prior holds the weights together. What all recordings say is mixed with what those of
    one sound say, and others against it: the more of the latter the more recordings it has.

    Args:
        held_out: (n_heads, n_windows, n_sounds), see :class:`device_app.enrolment.discriminant.Discriminants`.
        owner: (n_windows,) the recording of each window, from 0.
        sound: (n_recordings,) the sound of each recording, from 0.

    Returns:
        (n_sounds, n_heads) of sum 1; equal ones where there is nothing to learn from.
    """
    n_heads, _, n_sounds = held_out.shape
    equal = np.full((n_sounds, n_heads), 1.0 / n_heads)
    counts = np.bincount(owner)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    scores = np.add.reduceat(held_out, starts, axis=1) / counts[:, None]  # (n_heads, n_recordings, n_sounds)
    ahead = np.moveaxis(np.take_along_axis(scores, sound[None, :, None], axis=2) - scores, 0, 2)
    known = np.isfinite(ahead).all(axis=(1, 2))
    if n_heads == 1 or n_sounds == 1 or not known.any():
        return equal
    ahead, own = ahead[known], sound[known]
    rivals = own[:, None] != np.arange(n_sounds)
    from threadpoolctl import threadpool_limits  # not needed for listening

    with threadpool_limits(1):  # more threads wait for each other longer than these small products take
        weights = np.tile(_fit(ahead, rivals), (n_sounds, 1))
        for i in np.unique(own):
            mine = own == i
            about = rivals & (mine[:, None] | (np.arange(n_sounds) == i))
            trust = np.sum(mine) / (np.sum(mine) + _OWN_AFTER)
            weights[i] += trust * (_fit(ahead, about) - weights[i])
    return weights


def _fit(ahead: Float64Array, rivals: NDArray[np.bool_]) -> Float64Array:
    """Weights of sum 1, averaged over priors of several widths as far as each foretells recordings left out of its fit.

    The average is pseudo-BMA+ of Yao et al. (2018, "Using stacking to average Bayesian predictive distributions",
    section 3.4): what a wider prior gains over the narrowest only counts from one standard error on. Leaving one
    recording out is one step of Newton's from the fit to all.

    Args:
        ahead: (n_recordings, n_sounds, n_heads) how far the own sound's score is above each sound's.
        rivals: (n_recordings, n_sounds) which of these count.
    """
    n_recordings, _, n_heads = ahead.shape
    ahead = ahead * rivals[:, :, None]
    ahead = ahead / max(float(np.sqrt(np.sum(ahead.mean(axis=2) ** 2) / max(1, rivals.sum()))), 1e-12)
    equal = np.full(n_heads, 1.0 / n_heads)
    weights, tried, foretold = equal, [], []
    for looseness in _LOOSENESS:
        width = _TOGETHER**2 * np.outer(equal, equal) + looseness**2 / n_heads * np.eye(n_heads)
        precision = np.linalg.inv(width)
        weights = _likeliest(ahead, rivals, precision, weights)
        _, slope, share = _log_likelihood(ahead, rivals, weights)
        bend = np.swapaxes(ahead * share, 1, 2) @ ahead - slope[:, :, None] * slope[:, None, :]
        without = weights - np.linalg.solve(bend.sum(axis=0) + precision - bend, slope[:, :, None])[:, :, 0]
        foretold.append(_log_likelihood(ahead, rivals, without[:, :, None])[0])
        positive = np.maximum(weights, 0.0)
        tried.append(positive / positive.sum() if positive.sum() > 0.0 else equal)
    gained = np.array(foretold) - foretold[0]
    sure = gained.sum(axis=1) - gained.std(axis=1) * np.sqrt(n_recordings)
    trust = np.exp(sure - sure.max())
    return trust @ np.array(tried) / trust.sum()


def _likeliest(
    ahead: Float64Array, rivals: NDArray[np.bool_], precision: Float64Array, start: Float64Array
) -> Float64Array:
    """(n_heads,) most probable weights, by Newton's method, whose steps are halved where they lead down."""
    weights = start
    told, slope, share = _log_likelihood(ahead, rivals, weights)
    for _ in range(30):
        before = told.sum() - weights @ precision @ weights / 2.0
        bend = (ahead * share).reshape(-1, len(start)).T @ ahead.reshape(-1, len(start)) - slope.T @ slope
        step = np.linalg.solve(bend + precision, slope.sum(axis=0) - precision @ weights)
        for _ in range(10):
            told, slope, share = _log_likelihood(ahead, rivals, weights + step)
            gain = told.sum() - (weights + step) @ precision @ (weights + step) / 2.0 - before
            if gain >= 0.0:
                break
            step = step / 2.0
        weights = weights + step
        if gain < 1e-4:
            break
    return weights


def _log_likelihood(
    ahead: Float64Array, rivals: NDArray[np.bool_], weights: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Of each recording, its gradient, and the rivals' probabilities: (n,), (n, n_heads), (n, n_sounds, 1).

    Args:
        ahead: (n, n_sounds, n_heads).
        rivals: (n, n_sounds).
        weights: (n_heads,), or (n, n_heads, 1) of each recording's own.
    """
    margin = (ahead @ weights).reshape(rivals.shape)
    odds = np.exp(np.minimum(-margin, 500.0)) * rivals
    total = 1.0 + odds.sum(axis=1)
    share = (odds / total[:, None])[:, :, None]
    return -np.log(total), np.sum(ahead * share, axis=1), share


def set_by_hand(
    weights: Float64Array, sounds: Sequence[str], heads: Sequence[str], settings: Mapping[str, SoundSettings]
) -> Float64Array:
    """Give heads that were chosen by hand a quarter of the weight, beside what they have.

    Args:
        weights: (n_sounds, n_heads or more), learned; columns behind the heads' are never chosen.
        sounds: Their names.
        heads: Names of the heads.
        settings: Of the sounds that have some.

    Raises:
        ProfileError: If the model has no head for what was chosen.
    """
    weights = weights.copy()
    for i, name in enumerate(sounds):
        chosen = chosen_heads(settings.get(name, SoundSettings()), heads)
        if chosen:
            by_hand = np.zeros(weights.shape[1])
            by_hand[[heads.index(head) for head in chosen]] = 1.0 / len(chosen)
            weights[i] = (1.0 - _BY_HAND) * weights[i] + _BY_HAND * by_hand
    return weights


def heights(
    chosen: Float64Array, learned: Float64Array, held_out: Float64Array, own: NDArray[np.int64]
) -> Float64Array:
    """What to multiply each sound's discriminant with, so that it is as high with weights by hand as with learned ones.

    The highest discriminant says which sound it is, and heads differ in height: a sound with a head of its own would
    lose to the others, or win.

    Args:
        chosen: (n_sounds, n_heads) weights in use.
        learned: (n_sounds, n_heads).
        held_out: (n_heads, n_windows, n_sounds), see :func:`learn_weights`.
        own: (n_windows,) the sound of each window, from 0.

    Returns:
        (n_sounds,) float64; 1 where nothing was set by hand.
    """
    scores = np.take_along_axis(held_out, own[None, :, None], axis=2)[:, :, 0]
    known = np.isfinite(scores).all(axis=0)
    usual = scores[:, known].mean(axis=1) if known.any() else np.zeros(len(scores))
    now, before = chosen @ usual, learned @ usual
    return before / now if min(now.min(), before.min()) > 0.0 else np.ones(len(chosen))


def chosen_heads(settings: SoundSettings, heads: Sequence[str]) -> set[str]:
    """Heads that a person chose for a sound; empty if none.

    Raises:
        ProfileError: If the model has none of those that a setting stands for.
    """
    chosen: set[str] = set()
    for (name, value), groups in _CHOSEN.items():
        if getattr(settings, name) != value:
            continue
        present = [group for group in groups if set(group) & set(heads)]
        if not present:
            raise ProfileError(
                f"--{name} {value} needs a head '{groups[0][0]}', and this model has {', '.join(heads)}: "
                f"use another model, or leave --{name} out"
            )
        chosen |= set(present[0]) & set(heads)
    return chosen


def in_words(weights: Float64Array, heads: Sequence[str]) -> str:
    """What the (n_heads,) weights of one sound mean, for a person."""
    equal = 1.0 / len(heads)
    order = np.argsort(weights)[::-1]
    heavy = [heads[i] for i in order if weights[i] >= _HEAVY * equal][:2]
    if not heavy:
        return "everything about it counts alike"
    said = [_IN_WORDS.get(head, f"'{head}' counts most") for head in heavy]
    sensitive = [weight for head, weight in zip(heads, weights, strict=True) if head == "sensitive"]
    if "sensitive" not in heavy and sensitive and sensitive[0] <= 0.5 * equal:
        said.append("its pitch may vary")
    return "; ".join(said)
