"""How much each head of the network counts for each sound: learned from its recordings, or set by hand."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from device_app.enrolment.discriminant import Discriminants
from device_app.enrolment.sound_settings import SoundSettings
from device_app.errors import ProfileError

_LOOSENESS = 6.0
"""How freely the weights leave equal shares: the width of their prior. See `make bench-heads`."""
_TOGETHER = 10.0
"""The same for what the heads share, which is to be free."""
_OWN_AFTER = 40.0
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

    Each recording is compared with each sound that it is not, by the scores of discriminants that have not seen it: a
    logistic regression on the differences between its own sound's score and the other's (Bradley and Terry 1952), one
    feature a head. The L2 penalty holds the weights together, so that they only part where equal ones go wrong. What
    all sounds say is mixed with what the pairs of one sound say, the more of the latter the more recordings it has; and
    of that and equal weights the geometric mean is taken, as few recordings say less than they seem to.

    Args:
        held_out: (n_heads, n_windows, n_sounds), see :class:`device_app.enrolment.discriminant.Discriminants`, of each
            head alone.
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
    recording, other = np.nonzero(sound[:, None] != np.arange(n_sounds))
    differences = (scores[:, recording, sound[recording]] - scores[:, recording, other]).T
    known = np.isfinite(differences).all(axis=1)
    if n_heads == 1 or not known.any():
        return equal
    differences, recording, other = differences[known], recording[known], other[known]
    own = sound[recording]
    weights = equal.copy()
    everyone = _fit(differences, n_sounds)
    for i in range(n_sounds):
        about = (own == i) | (other == i)
        trust = np.sum(sound == i) / (np.sum(sound == i) + _OWN_AFTER)
        weights[i] = (1.0 - trust) * everyone + trust * _fit(differences[about], n_sounds)
    weights = np.sqrt(weights)
    return weights / weights.sum(axis=1, keepdims=True)


def _fit(differences: Float64Array, n_sounds: int) -> Float64Array:
    """(n_heads,) weights of sum 1 from (n_pairs, n_heads) differences that should be above 0."""
    from sklearn.linear_model import LogisticRegression  # slow to import, and not needed for listening

    n_heads = differences.shape[1]
    mean = differences.mean(axis=1)
    scaled = differences / max(float(np.sqrt(np.mean(mean**2))), 1e-12)
    apart = np.eye(n_heads) - 1.0 / n_heads
    features = np.column_stack([_TOGETHER * scaled.mean(axis=1), _LOOSENESS * scaled @ apart])
    model = LogisticRegression(fit_intercept=False, max_iter=200)
    signs = np.where(np.arange(len(features)) % 2, 1, -1)  # without an intercept either side of a pair may come first
    model.fit(features * signs[:, None], signs, sample_weight=np.full(len(signs), 1.0 / (n_sounds - 1)))
    weights = model.coef_[0][0] * _TOGETHER / n_heads + _LOOSENESS * apart @ model.coef_[0][1:]
    weights = np.maximum(weights, 0.0)
    return weights / weights.sum() if weights.sum() > 0.0 else np.full(n_heads, 1.0 / n_heads)


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


def as_high(chosen: Discriminants, learned: Discriminants, own: NDArray[np.int64]) -> Discriminants:
    """Discriminants with weights by hand, as high for recordings of their own sound as those with learned weights.

    The highest discriminant says which sound it is, and heads differ in height: a sound with a head of its own would
    lose to the others, or win.

    Args:
        chosen: With the weights in use.
        learned: With what was learned.
        own: (n_windows,) the sound of each held-out window, from 0.
    """
    factors = np.ones(len(chosen.bias))
    for i in range(len(factors)):
        now, before = (np.nan_to_num(each.held_out[own == i, i]).mean() for each in (chosen, learned))
        factors[i] = before / now if min(now, before) > 0.0 else 1.0
    return Discriminants(chosen.weights * factors[:, None], chosen.bias * factors, chosen.held_out * factors)


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
