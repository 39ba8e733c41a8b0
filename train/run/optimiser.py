"""The optimiser and its schedule."""

import math

import torch
from torch import nn

from train.config import OptimConfig, Precision


def learning_rate(step: int, cfg: OptimConfig, max_steps: int) -> float:
    """Rate of step ``step`` (from 0 on): a straight line up to ``lr``, then half a cosine (arXiv:1608.03983, eq. 5).

    A function of the step alone; the published code steps its cosine every batch with a period meant for epochs.
    """
    if step < cfg.warmup_steps:
        return cfg.lr * (step + 1) / cfg.warmup_steps
    progress = min(1.0, (step - cfg.warmup_steps) / max(1, max_steps - cfg.warmup_steps))
    return cfg.lr * (cfg.final_lr_ratio + (1 - cfg.final_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2)


def make_optimiser(model: nn.Module, cfg: OptimConfig, precision: Precision = "fp32") -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) that leaves biases and batch norms undecayed.

    Fused: a third of the time on a CPU. But not in float16: a fused one unscales gradients itself, which clipping does
    not allow.
    """
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": cfg.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=cfg.lr, betas=cfg.betas, fused=precision != "fp16")
