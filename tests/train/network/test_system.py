"""Every system of the paper from one code path, and that each of its terms can be learnt."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.tiny import tiny_config
from train.augment.chain import Augmenter
from train.config import Contrastive, Variant
from train.network.losses import distil, mlap, nt_xent, simsiam
from train.network.system import PretrainingSystem, rows_to_compute

CLIPS = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 4000)).astype(np.float32))
VIEWS, LABELS = Augmenter(tiny_config().augment, 16_000).two_views(CLIPS, 0)


@pytest.mark.parametrize("contrastive", ["simclr", "simsiam"])
@pytest.mark.parametrize("variant", ["none", "split", "bn", "series", "parallel"])
def test_every_multi_task_system_adds_its_terms_and_trains_all_of_its_weights(
    variant: Variant, contrastive: Contrastive
) -> None:
    config = tiny_config(model={"variant": variant}, loss={"contrastive": contrastive, "mlap_weight": 0.5})
    system = PretrainingSystem(config)
    losses = system(VIEWS, LABELS)
    assert set(losses) == {"loss", "contrastive", "mlap"}
    assert losses["loss"].item() == pytest.approx(losses["contrastive"].item() + 0.5 * losses["mlap"].item(), rel=1e-6)
    losses["loss"].backward()
    without = [name for name, p in system.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The last bias before a batch norm has no effect; everything else must learn.
    assert all(name.endswith("bias") for name in without)


@pytest.mark.parametrize("contrastive", ["simclr", "simsiam"])
def test_the_contrastive_only_baseline_has_that_loss_alone(contrastive: Contrastive) -> None:
    config = tiny_config(model={"variant": "none", "tasks": ["invariant"]}, loss={"contrastive": contrastive})
    losses = PretrainingSystem(config)(VIEWS, LABELS)
    assert set(losses) == {"loss", "contrastive"}
    assert losses["loss"].item() == losses["contrastive"].item()


def test_the_prediction_only_baseline_has_that_loss_alone_weighted_by_lambda() -> None:
    config = tiny_config(model={"variant": "none", "tasks": ["sensitive"]}, loss={"mlap_weight": 3.0})
    losses = PretrainingSystem(config)(VIEWS, LABELS)
    assert set(losses) == {"loss", "mlap"}
    assert losses["loss"].item() == pytest.approx(3 * losses["mlap"].item())


def test_the_losses_are_those_of_the_branches_computed_one_by_one() -> None:
    system = PretrainingSystem(tiny_config()).eval()
    losses = system(VIEWS, LABELS)
    invariant, sensitive = system.backbone(system.frontend(VIEWS))
    assert system.contrastive is not None
    assert system.predictive is not None
    z = system.contrastive(invariant)
    assert losses["contrastive"].item() == pytest.approx(nt_xent(z[:6], z[6:], 0.2).item(), rel=1e-5)
    assert losses["mlap"].item() == pytest.approx(mlap(system.predictive(sensitive), LABELS).item(), rel=1e-5)
    other = PretrainingSystem(tiny_config(loss={"contrastive": "simsiam"})).eval()
    assert other.contrastive is not None
    z, p = other.contrastive(other.backbone(other.frontend(VIEWS))[0])
    assert other(VIEWS, LABELS)["contrastive"].item() == pytest.approx(
        simsiam(z[:6], p[:6], z[6:], p[6:]).item(), rel=1e-4
    )


def test_predicting_from_one_view_leaves_the_second_out() -> None:
    system = PretrainingSystem(tiny_config(loss={"mlap_views": 1})).eval()
    changed = VIEWS.clone()
    changed[6:] = changed[6:].flip(1)
    assert system(VIEWS, LABELS)["mlap"].item() == pytest.approx(system(changed, LABELS)["mlap"].item(), rel=1e-6)
    assert system(VIEWS, LABELS)["contrastive"].item() != system(changed, LABELS)["contrastive"].item()


def test_the_shared_part_is_computed_once_for_both_tasks() -> None:
    system = PretrainingSystem(tiny_config())
    calls = []
    system.backbone.stem_conv.register_forward_hook(lambda *_: calls.append(1))
    system(VIEWS, LABELS)
    assert len(calls) == 1


@settings(max_examples=50, deadline=None)
@given(wanted=st.lists(st.booleans(), min_size=2, max_size=70))
def test_a_branch_computes_the_rows_that_are_wanted_and_few_others(wanted: list[bool]) -> None:
    rows = rows_to_compute(torch.tensor(wanted), everywhere=False)
    n_least = 16 * max(1, -(-sum(wanted) // 16))
    if n_least >= len(wanted):
        assert rows is None
    else:
        assert rows is not None
        assert len(rows) == len(set(rows.tolist())) == n_least
        assert rows.tolist() == sorted(rows.tolist())
        assert set(np.flatnonzero(wanted)) <= set(rows.tolist())


def test_what_no_teacher_is_asked_about_is_left_out_of_a_branch_and_the_losses_are_the_same() -> None:
    config = tiny_config(
        model={"tasks": ["invariant", "sensitive", "distilled", "speaker"]},
        distil={
            "teachers": ["a", "b"],
            "teacher_weights": [1.0, 2.0],
            "teacher_branches": ["distilled", "speaker"],
            "n_dims": 5,
            "contrast_weight": 0.5,
        },
    )
    system = PretrainingSystem(config).eval()
    taught, targets = torch.randn(40, 4000), torch.nn.functional.normalize(torch.randn(2, 40, 5), dim=2)
    targets[1, 3:25] = 0  # 18 are left
    h = system.backbone.shared(system.frontend(taught))
    sizes = []
    heads = system.backbone.heads
    heads[2].register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    heads[3].register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    answers = system.answers(h, targets.any(dim=2))
    assert sizes == [40, 32]
    whole = system.answers(h)
    terms = [
        weight * distil(answer, target, 0.5, 0.07)
        for weight, answer, target in zip((1, 2), whole, targets, strict=True)
    ]
    assert system(VIEWS, LABELS, taught, targets)["distil"].item() == pytest.approx(
        torch.stack(terms).sum().item(), rel=1e-5
    )
    torch.testing.assert_close(answers[0], whole[0])
    asked = targets[1].any(dim=1)
    torch.testing.assert_close(answers[1][asked], whole[1][asked])
    for answer in answers:
        assert answer.shape == (40, 5)


def test_the_papers_three_channels_go_through_the_whole_system() -> None:
    frontend = {"channels": "log-mel+stft", "centred": True}
    system = PretrainingSystem(tiny_config(frontend=frontend, model={"trunk": "published"}))
    assert system.backbone.stem_conv.in_channels == 3
    assert system(VIEWS, LABELS)["loss"].isfinite()


def test_a_network_learns_which_augmentations_a_clip_had() -> None:
    """On one batch over and over both losses fall far below what guessing gives."""
    torch.manual_seed(0)
    system = PretrainingSystem(tiny_config(model={"width": 8, "head_dim": 16}))
    optimiser = torch.optim.Adam(system.parameters(), 3e-3)
    first = {name: value.item() for name, value in system(VIEWS, LABELS).items()}
    for _ in range(60):
        optimiser.zero_grad()
        losses = system(VIEWS, LABELS)
        losses["loss"].backward()
        optimiser.step()
    assert losses["mlap"].item() < 0.45 < 0.6 < first["mlap"]
    assert losses["contrastive"].item() < 0.5 * first["contrastive"]
