"""Losses against the papers' formulas, written out row by row in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.network.losses import distil, mlap, nt_xent, simsiam

RNG = np.random.default_rng(0)


def reference_nt_xent(z1: np.ndarray, z2: np.ndarray, temperature: float) -> float:
    """Chen et al. 2020, eq. 1, for every ordered pair of views."""
    z = np.concatenate([z1, z2]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, total = len(z1), 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i]
        total -= np.log(np.exp(z[i] @ z[j] / temperature) / np.sum(others))
    return total / (2 * n)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 9), temperature=st.floats(0.07, 1.0), seed=st.integers(0, 99))
def test_nt_xent_is_the_papers_formula(n: int, temperature: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z1, z2 = rng.standard_normal((2, n, 5)).astype(np.float32)
    ours = nt_xent(torch.from_numpy(z1), torch.from_numpy(z2), temperature)
    assert float(ours) == pytest.approx(reference_nt_xent(z1, z2, temperature), rel=1e-4, abs=1e-5)


def test_nt_xent_of_vectors_that_are_all_alike_is_the_logarithm_of_their_number_less_one() -> None:
    z = torch.ones(8, 4)
    assert float(nt_xent(z, z, 0.07)) == pytest.approx(np.log(15), abs=1e-5)


def test_simsiam_is_the_mean_of_both_negative_cosines_and_stops_the_projections_gradient() -> None:
    z1, p1, z2, p2 = (torch.from_numpy(x).requires_grad_() for x in RNG.standard_normal((4, 6, 5)))
    loss = simsiam(z1, p1, z2, p2)

    def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
        x, y = a.detach().numpy(), b.detach().numpy()
        return float(np.mean(np.sum(x * y, 1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)))

    assert loss.item() == pytest.approx(-(cosine(p1, z2) + cosine(p2, z1)) / 2, abs=1e-6)
    loss.backward()
    assert z1.grad is None
    assert z2.grad is None
    assert p1.grad is not None


def test_mlap_is_binary_cross_entropy_over_both_views_with_the_clips_label_for_each() -> None:
    logits = RNG.standard_normal((6, 7)).astype(np.float32)
    labels = (RNG.random((3, 7)) < 0.5).astype(np.float32)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    y = np.concatenate([labels, labels])
    expected = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    assert float(mlap(torch.from_numpy(logits), torch.from_numpy(labels))) == pytest.approx(expected, abs=1e-6)


def test_a_constant_predictor_of_four_sevenths_reaches_the_floor_of_the_paper() -> None:
    labels = torch.tensor([[1.0] * k + [0.0] * (7 - k) for k in range(1, 8)])
    logits = torch.full((7, 7), float(np.log((4 / 7) / (3 / 7))))
    assert float(mlap(logits, labels)) == pytest.approx(0.683, abs=5e-4)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 9), weight=st.floats(0.0, 2.0), temperature=st.floats(0.05, 1.0), seed=st.integers(0, 99))
def test_distillation_is_the_cosine_and_seeds_divergence(n: int, weight: float, temperature: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, target = rng.standard_normal((2, n, 5)).astype(np.float32)
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    own = (predicted / np.linalg.norm(predicted, axis=1, keepdims=True)).astype(np.float64)

    def chosen(rows: np.ndarray) -> np.ndarray:
        likely = np.exp(rows @ target.T / temperature)
        return likely / likely.sum(axis=1, keepdims=True)

    wanted = chosen(target.astype(np.float64))
    divergence = np.sum(wanted * np.log(wanted / chosen(own)), axis=1)
    expected = np.mean(1 - np.sum(own * target, axis=1)) + weight * np.mean(divergence)
    ours = distil(torch.from_numpy(predicted), torch.from_numpy(target), weight, temperature)
    assert float(ours) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_distillation_is_computed_in_full_precision_whatever_comes() -> None:
    rng = np.random.default_rng(0)
    predicted, target = (torch.from_numpy(x.astype(np.float32)).bfloat16() for x in rng.standard_normal((2, 6, 5)))
    target = torch.nn.functional.normalize(target, dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        half = distil(predicted, target, 0.5)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(distil(predicted.float(), target.float(), 0.5).item(), rel=1e-4)


def test_clips_that_a_teacher_was_not_asked_about_teach_nothing() -> None:
    predicted = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.nn.functional.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    asked = torch.tensor([True, False, True, True, False, True])
    loss = distil(predicted, target * asked[:, None], 0.5)
    assert loss.item() == pytest.approx(distil(predicted[asked], target[asked], 0.5).item() * 4 / 6, rel=1e-5)
    loss.backward()
    assert predicted.grad is not None
    assert (predicted.grad.abs().amax(dim=1) > 0).tolist() == asked.tolist()
    nobody = distil(predicted, torch.zeros(6, 5), 0.5)
    assert nobody.item() == 0.0


def test_distillation_is_one_minus_the_cosine() -> None:
    predicted = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert float(distil(predicted, target)) == pytest.approx(((1 - 0.6) + 2.0) / 2)
