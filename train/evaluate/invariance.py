"""What each head does not mind: how far each augmentation moves an embedding (paper, section 4.3 and its Table 5.3).

The paper does not say how it estimated the covariance, of how many clips, or of which; here it is Ledoit and Wolf's
shrunk estimate (2004) on one half of the clips, and distances are measured on the other half, which nothing was trained
on. A distance grows with the size of the head, so that it is also given as a share of the distance between two
different clips.
Shapes: N clips, S samples of a window, D size of a head.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.covariance import LedoitWolf

from train.augment.chain import AUGMENTATIONS, Augmenter
from train.config import AugmentConfig
from train.evaluate.embedding import clip_windows, read_samples, with_all_heads
from train.evaluate.encoders import Encoder
from train.evaluate.probing.probes import Products, posterior_mode
from train.evaluate.sets import LabelledSet
from train.evaluate.tasks import Tasks

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]

N_CLIPS = 1200
"""Most clips, in all, of which half are for the covariance."""
_BATCH = 64


def invariance(encoder: Encoder, sets: Sequence[LabelledSet], n_clips: int = N_CLIPS) -> dict[str, object]:
    """Mahalanobis distance between clips and augmented clips, of each head and augmentation.

    Args:
        encoder: What embeds.
        sets: Where the clips are from, as many of each.
        n_clips: How many in all, at most.

    Returns:
        ``n_covariance`` and ``n_held_out`` clips, and for each head: ``size``, ``other_clip`` (mean distance between
        different held-out clips) and for each augmentation ``distance``, ``half_width`` (95 %, over clips) and
        ``relative`` (distance over ``other_clip``).
    """
    windows = loudest_windows(encoder, sets, n_clips)
    for_covariance, held_out = windows[::2], windows[1::2]
    fitted = _embed(encoder, for_covariance)
    original = _embed(encoder, held_out)
    augmenter = Augmenter(AugmentConfig(), encoder.sample_rate)
    moved = {name: _embed(encoder, augment_all(augmenter, held_out, kind)) for kind, name in enumerate(AUGMENTATIONS)}
    heads: dict[str, object] = {}
    for head, rows in fitted.items():
        whiten = whitening(rows)
        clean = original[head] @ whiten
        other = float(np.linalg.norm(clean - np.roll(clean, 1, axis=0), axis=1).mean())
        entry: dict[str, object] = {"size": rows.shape[1], "other_clip": round(other, 3)}
        for name, embedded in moved.items():
            distance = np.linalg.norm(embedded[head] @ whiten - clean, axis=1)
            entry[name] = {
                "distance": round(float(distance.mean()), 3),
                "half_width": round(1.96 * float(distance.std()) / float(np.sqrt(len(distance))), 3),
                "relative": round(float(distance.mean()) / other, 4),
            }
        heads[head] = entry
    return {"n_covariance": len(for_covariance), "n_held_out": len(held_out), "heads": heads}


def whitening(rows: FloatArray) -> DoubleArray:
    """(D, D) matrix L with ``L L^T`` the inverse of the shrunk covariance of (N, D) rows."""
    estimate = LedoitWolf().fit(rows.astype(np.float64))
    values, vectors = np.linalg.eigh(estimate.covariance_)
    return np.asarray(vectors / np.sqrt(np.maximum(values, values.max() * 1e-12)))


def loudest_windows(encoder: Encoder, sets: Sequence[LabelledSet], n_clips: int) -> FloatArray:
    """(N, S) the window with most energy of clips spread evenly over each set."""
    share = max(2, n_clips // len(sets))
    chosen = []
    for labelled in sets:
        size = min(share, len(labelled.paths))
        for index in np.linspace(0, len(labelled.paths) - 1, size).astype(int).tolist():
            windows = clip_windows(read_samples(labelled, index, encoder.sample_rate), encoder.clip_samples)
            chosen.append(windows[np.square(windows).sum(axis=1).argmax()])
    # One after the other of each set and class in either half, whatever the order of the sets.
    return np.stack(chosen)[np.random.default_rng(0).permutation(len(chosen))]


def augment_all(augmenter: Augmenter, windows: FloatArray, kind: int) -> FloatArray:
    """Put all of (N, S) windows through one augmentation, with parameters of each one's own."""
    generator = torch.Generator().manual_seed(kind)
    order = torch.full((len(windows), len(AUGMENTATIONS)), -1)
    order[:, 0] = kind
    return augmenter.apply(torch.from_numpy(windows), order, generator).numpy()


def _embed(encoder: Encoder, windows: FloatArray) -> dict[str, FloatArray]:
    parts = [encoder.embed(windows[first : first + _BATCH]) for first in range(0, len(windows), _BATCH)]
    return with_all_heads({head: np.concatenate([part[head] for part in parts]) for head in parts[0]})


def weight_shares(heads: dict[str, FloatArray], tasks: Tasks, n_tasks: int = 300) -> dict[str, float]:
    """Share of a linear classifier's weight that falls to each head (paper, Table 5.4), on standardised embeddings.

    Multinomial logistic regression, C = 1, fitted to each of the first tasks on all heads side by side, each dimension
    brought to variance 1 over the set and all together to length 1 on average; a head's part is the root mean square of
    its weights, so that a larger head has no larger share for its size.

    Returns:
        For each head its share; they sum to 1.
    """
    x = np.concatenate(list(heads.values()), axis=1).astype(np.float64)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9) / np.sqrt(x.shape[1])
    edges = np.cumsum([0, *(rows.shape[1] for rows in heads.values())])
    some = tasks.first(n_tasks)
    support = x[some.support.reshape(len(some.support), -1)]  # (T, S, D)
    products = Products(support @ support.transpose(0, 2, 1), np.zeros((len(support), 0, 0)), some.support.shape[1])
    coefficients, _ = posterior_mode(products, 1.0)
    weights = support.transpose(0, 2, 1) @ coefficients  # (T, D, W)
    parts = [
        float(np.sqrt(np.square(weights[:, first:last]).mean(axis=1)).mean())
        for first, last in itertools.pairwise(edges.tolist())
    ]
    return {head: round(part / sum(parts), 4) for head, part in zip(heads, parts, strict=True)}
