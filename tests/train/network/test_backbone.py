"""Parameter counts are those measured on the reference classes: the specification's table 1.3."""

import pytest
import torch
from torch import nn

from train.config import ModelConfig, Variant
from train.network.backbone import Backbone
from train.network.heads import MLAPHead, SimCLRProjector, SimSiamHead, n_parameters

VARIANTS: tuple[Variant, ...] = ("none", "split", "bn", "series", "parallel")


def published(variant: Variant) -> Backbone:
    head_dim = 1000 if variant == "none" else 500
    return Backbone(ModelConfig(variant=variant, trunk="published", width=64, head_dim=head_dim), in_channels=3)


def small(variant: Variant, n_tasks: int = 2, width: int = 4) -> Backbone:
    torch.manual_seed(0)
    tasks = ("invariant", "sensitive", "distilled")[:n_tasks]
    return Backbone(ModelConfig(variant=variant, width=width, tasks=tasks, head_dim=6), in_channels=1)


@pytest.mark.parametrize(
    ("variant", "count"),
    [
        ("none", 11_689_512),
        ("split", 11_689_512),
        ("bn", 11_524_904),
        ("series", 14_308_648),
        ("parallel", 13_949_736),
    ],
)
def test_the_published_networks_have_the_published_numbers_of_parameters(variant: Variant, count: int) -> None:
    assert n_parameters(published(variant)) == count


@pytest.mark.parametrize(("variant", "count"), [("bn", 8_192), ("series", 1_391_616), ("parallel", 1_212_416)])
def test_a_task_of_its_own_costs_what_the_paper_says(variant: Variant, count: int) -> None:
    """Parameters that only task 0 uses, its last layer aside."""
    backbone = published(variant)
    backbone(torch.randn(2, 3, 32, 32))[0].sum().backward()
    used_by_0 = {name for name, p in backbone.named_parameters() if p.grad is not None}
    backbone.zero_grad(set_to_none=True)
    backbone(torch.randn(2, 3, 32, 32))[1].sum().backward()
    used_by_1 = {name for name, p in backbone.named_parameters() if p.grad is not None}
    own = [
        p.numel() for name, p in backbone.named_parameters() if name in used_by_0 - used_by_1 and "heads" not in name
    ]
    assert sum(own) == count


@pytest.mark.parametrize(("variant", "count"), [("bn", 512), ("series", 17_408), ("parallel", 16_896)])
def test_layer_1_holds_one_set_of_adapters_that_the_tasks_share(variant: Variant, count: int) -> None:
    layer1 = published(variant).layer1
    kept = sum(p.numel() for name, p in layer1.named_parameters() if ".conv.weight" in name and "series" not in name)
    assert n_parameters(layer1) - kept == count


def test_heads_have_the_published_numbers_of_parameters() -> None:
    assert n_parameters(SimCLRProjector(500, 256)) == 378_756
    assert n_parameters(SimCLRProjector(1000, 256)) == 1_257_256
    assert n_parameters(SimSiamHead(500).projector) == 9_431_040
    assert n_parameters(SimSiamHead(1000).projector) == 10_455_040
    assert n_parameters(SimSiamHead(500).predictor) == 2_100_736
    assert n_parameters(MLAPHead(500, 7)) == 146_535
    assert n_parameters(MLAPHead(1000, 7)) == 274_535
    whole = (
        n_parameters(published("parallel")) + n_parameters(SimCLRProjector(500, 256)) + n_parameters(MLAPHead(500, 7))
    )
    assert whole == 14_475_027


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_matched_trunk_is_the_adapters_trunk_for_every_variant(variant: Variant) -> None:
    backbone = Backbone(ModelConfig(variant=variant, width=64, head_dim=500), in_channels=3)
    trunk = [p.numel() for name, p in backbone.named_parameters() if name.endswith("conv.weight") and p.shape[-1] == 3]
    assert sum(trunk) == 10_985_472  # sixteen 3x3 convolutions
    assert not any("downsample" in name for name, _ in backbone.named_parameters())


@pytest.mark.parametrize("variant", VARIANTS)
def test_branches_of_the_shared_part_are_the_whole_network(variant: Variant) -> None:
    backbone = small(variant, n_tasks=3).eval()
    x = torch.randn(2, 1, 32, 31)
    h = backbone.shared(x)
    outputs = backbone(x)
    assert len(outputs) == backbone.n_tasks == 3
    for task, output in enumerate(outputs):
        torch.testing.assert_close(backbone.branch(h, task), output)
    alike = torch.allclose(outputs[0], outputs[1])
    assert alike == (variant == "none")


def test_a_parallel_adapter_is_a_1x1_convolution_added_before_the_batch_norm() -> None:
    site = small("parallel").layer2[0].site1
    for norm in site.norms:
        nn.init.uniform_(norm.weight)
        norm.running_mean.uniform_()
        norm.eval()
    x = torch.randn(2, 4, 8, 9)
    for task in range(2):
        expected = site.norms[task](site.conv(x) + site.parallel[task](x))
        torch.testing.assert_close(site(x, task), expected, rtol=1e-5, atol=1e-5)


def test_a_series_adapter_is_a_normalised_1x1_convolution_around_which_the_input_passes() -> None:
    site = small("series").layer2[0].site1.eval()
    x = torch.randn(2, 4, 8, 9)
    y = site.conv(x)
    expected = site.norms[1](y + site.series[1].conv(site.series[1].norm(y)))
    torch.testing.assert_close(site(x, 1), expected, rtol=1e-5, atol=1e-5)


def test_a_shortcut_without_parameters_averages_and_adds_zero_channels() -> None:
    block = small("bn").layer2[0]
    x = torch.randn(1, 4, 4, 5)
    y = block.shortcut(x)
    assert y.shape == (1, 8, 2, 3)
    torch.testing.assert_close(y[0, 1, 1, 0], x[0, 1, 2:4, 0:2].mean())
    torch.testing.assert_close(y[0, 1, 0, 2], x[0, 1, 0:2, 4].mean())  # the odd frame at the end
    assert (y[:, 4:] == 0).all()


def test_a_task_that_is_not_there_is_an_error() -> None:
    with pytest.raises(IndexError, match="task 2 of a backbone with 2"):
        small("bn").branch(torch.zeros(1, 4, 4, 4), 2)
