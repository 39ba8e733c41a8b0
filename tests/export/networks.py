"""Backbones with random weights and batch norms that have seen something."""

import torch
from torch import nn

from train.config import ModelConfig, Trunk, Variant
from train.network.backbone import Backbone


def random_backbone(
    variant: Variant,
    trunk: Trunk = "matched",
    *,
    width: int = 4,
    head_dim: int = 8,
    n_tasks: int = 2,
    tasks: tuple[str, ...] = ("invariant", "sensitive", "third"),
    seed: int = 0,
) -> Backbone:
    """A backbone in evaluation mode whose batch norms have gains of both signs."""
    cfg = ModelConfig(variant=variant, trunk=trunk, width=width, tasks=tasks[:n_tasks], head_dim=head_dim)
    generator = torch.Generator().manual_seed(seed)
    backbone = Backbone(cfg, in_channels=1)
    with torch.no_grad():
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(-1.5, 1.5, generator=generator)
                module.bias.uniform_(-0.5, 0.5, generator=generator)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.uniform_(-0.5, 0.5, generator=generator)
                module.running_var.uniform_(0.3, 2.0, generator=generator)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                bound = 1.7 / module.weight[0].numel() ** 0.5
                module.weight.uniform_(-bound, bound, generator=generator)
    backbone.eval()
    return backbone
