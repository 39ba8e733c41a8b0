import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier

from tests.train.evaluate.made import a_set
from train.evaluate.probing.probes import (
    PROBES,
    Products,
    class_accuracies,
    logistic_regression,
    nearest_prototype,
    score_tasks,
    unit_length,
)
from train.evaluate.probing.sgd import published_sgd
from train.evaluate.tasks import TaskSpec, sample_tasks

N_WAY = 5
PUBLISHED = {
    "loss": "log_loss",
    "alpha": 0,
    "learning_rate": "adaptive",
    "eta0": 0.1,
    "max_iter": 20,
    "tol": 1e-4,
    "n_iter_no_change": 2,
}
"""The published evaluation's settings (``classifiers_/sklLinear.py`` at its version of February 2023)."""


def drawn(k: int, n_tasks: int = 12, size: int = 200, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Support (T, S, D) and queries (T, Q, D) of classes that overlap, unit length."""
    rng = np.random.default_rng(k)
    centres = spread * rng.standard_normal((n_tasks, N_WAY, 1, size))
    support = (centres + rng.standard_normal((n_tasks, N_WAY, k, size))).reshape(n_tasks, -1, size)
    queries = (centres + rng.standard_normal((n_tasks, N_WAY, 4, size))).reshape(n_tasks, -1, size)
    return tuple(x / np.linalg.norm(x, axis=2, keepdims=True) for x in (support, queries))


def products(support: np.ndarray, queries: np.ndarray) -> Products:
    across = support.transpose(0, 2, 1)
    return Products(support @ across, queries @ across, N_WAY)


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("c", [1.0, 100.0])
def test_logistic_regression_gives_scikit_learns_probabilities(k: int, c: float) -> None:
    support, queries = drawn(k)
    labels = np.repeat(np.arange(N_WAY), k)
    got = logistic_regression(c)(products(support, queries))
    for t in range(len(support)):
        model = LogisticRegression(C=c, tol=1e-10, max_iter=50_000).fit(support[t], labels)
        np.testing.assert_allclose(got[t], model.predict_proba(queries[t]), atol=2e-5)


def test_logistic_regression_stands_support_clips_that_coincide_and_ones_that_are_zero() -> None:
    support, queries = drawn(5)
    support[:, :10] = support[:, :1]  # two classes that cannot be told apart
    support[:, 10:15] = 0.0
    labels = np.repeat(np.arange(N_WAY), 5)
    got = logistic_regression(100.0)(products(support, queries))
    for t in range(3):
        model = LogisticRegression(C=100.0, tol=1e-10, max_iter=50_000).fit(support[t], labels)
        np.testing.assert_allclose(got[t], model.predict_proba(queries[t]), atol=2e-5)


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("scale", [0.5, 6.0])
def test_the_papers_probe_takes_the_steps_of_scikit_learns_sgd(k: int, scale: float) -> None:
    """As the published evaluation sets it, but with the clips in their order, which is the one thing left to chance."""
    support, queries = (scale * x for x in drawn(k))
    labels = np.repeat(np.arange(N_WAY), k)
    pair = products(support, queries)
    got = published_sgd(pair.support, pair.asked, N_WAY, shuffle=False)
    for t in range(len(support)):
        model = SGDClassifier(**PUBLISHED, shuffle=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # twenty passes are all it gets
            model.fit(support[t], labels)
        np.testing.assert_allclose(got[t], model.predict_proba(queries[t]), atol=1e-9)


def test_the_papers_probe_with_clips_in_random_order_is_as_accurate_as_scikit_learns() -> None:
    support, queries = (3.0 * x for x in drawn(5, n_tasks=60, spread=0.15))
    pair = products(support, queries)
    truth = np.repeat(np.arange(N_WAY), 4)
    mine = (published_sgd(pair.support, pair.asked, N_WAY).argmax(axis=2) == truth).mean()
    reference = []
    for t in range(60):
        model = SGDClassifier(**PUBLISHED, random_state=t)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(support[t], np.repeat(np.arange(N_WAY), 5))
        reference.append((model.predict(queries[t]) == truth).mean())
    assert mine == pytest.approx(np.mean(reference), abs=0.02)
    assert 0.3 < mine < 0.95


def test_a_prototype_is_the_mean_of_its_supports_and_nearness_is_the_cosine() -> None:
    support, queries = drawn(3)
    got = nearest_prototype(products(support, queries))
    for t in range(len(support)):
        means = support[t].reshape(N_WAY, 3, -1).mean(axis=1)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        np.testing.assert_allclose(got[t], queries[t] @ means.T, atol=1e-9)


@pytest.mark.parametrize("name", sorted(PROBES))
def test_classes_that_lie_apart_are_told_apart_and_noise_is_guessed(name: str) -> None:
    rng = np.random.default_rng(0)
    clips = a_set(6, 8)
    tasks = sample_tasks(clips, TaskSpec(n_tasks=300, n_queries=3))
    apart = 3 * np.eye(6, dtype=np.float32)[clips.labels] + 0.01 * rng.standard_normal((48, 6)).astype(np.float32)
    assert class_accuracies(score_tasks(apart, tasks, {name: PROBES[name]})[name]).mean() == 1.0
    noise = rng.standard_normal((48, 200)).astype(np.float32)
    assert class_accuracies(score_tasks(noise, tasks, {name: PROBES[name]})[name]).mean() == pytest.approx(
        0.2, abs=0.05
    )


def test_embeddings_that_know_the_group_alone_look_perfect_if_groups_are_mixed_and_are_guessing_if_not() -> None:
    clips = a_set(5, 12, 4)
    directions = np.random.default_rng(0).standard_normal((20, 64)).astype(np.float32)
    x = directions[clips.groups]
    probe = {"prototype": PROBES["prototype"]}
    found = {}
    for apart in ("class", "mixed"):
        tasks = sample_tasks(clips, TaskSpec(n_tasks=300, n_queries=3, apart=apart))
        found[apart] = class_accuracies(score_tasks(x, tasks, probe)["prototype"]).mean()
    assert found["class"] == pytest.approx(0.2, abs=0.06)
    assert found["mixed"] > 0.28


def test_queries_that_are_not_there_count_neither_as_right_nor_as_wrong() -> None:
    clips = a_set(5, 3)
    tasks = sample_tasks(clips, TaskSpec(n_tasks=20, n_queries=10))
    assert (tasks.queries >= 0).sum() == 20 * 5 * 2
    x = np.eye(5, dtype=np.float32)[clips.labels]
    scores = score_tasks(x, tasks, {"prototype": PROBES["prototype"]})["prototype"]
    assert np.isnan(scores.queries).all(axis=3).sum() == 20 * 5 * 8
    np.testing.assert_array_equal(class_accuracies(scores), 1.0)


def test_what_is_asked_may_be_embedded_otherwise_than_what_was_taught() -> None:
    clips = a_set(5, 6)
    tasks = sample_tasks(clips, TaskSpec(n_tasks=50, n_queries=3))
    taught = np.eye(5, dtype=np.float32)[clips.labels]
    turned = np.roll(taught, 1, axis=1)
    scores = score_tasks(taught, tasks, {"prototype": PROBES["prototype"]}, turned)["prototype"]
    assert class_accuracies(scores).mean() == 0.0


def test_unit_length_leaves_zeros() -> None:
    x = unit_length(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(x, [[0.6, 0.8], [0.0, 0.0]])
