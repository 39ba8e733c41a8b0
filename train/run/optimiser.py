"""The optimiser and its schedule."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from train.config import OptimConfig, Precision
from train.errors import CheckpointError


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


def load_optimiser(optimiser: torch.optim.Optimizer, saved: dict[str, Any], path: Path) -> None:
    """Restore an optimiser from its ``state_dict`` in a checkpoint, where numbers of parameters have become text.

    Its tensors get their parameters' memory format: the fused AdamW goes through both side by side as they lie, and
    with ``channels_last`` would pair moments with other weights' gradients, without an error.

    Raises:
        CheckpointError: If it is of other parameters.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    fused = [group["fused"] for group in optimiser.param_groups]
    try:
        state = {}
        for number, entries in saved["state"].items():
            parameter = parameters[int(number)]
            state[int(number)] = {
                name: value if name == "step" else torch.empty_like(parameter, dtype=value.dtype).copy_(value)
                for name, value in entries.items()
            }
        optimiser.load_state_dict({**saved, "state": state})
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as err:
        raise CheckpointError(
            f"the optimiser in {path} does not fit its network ({err}): start a new run from its weights with "
            f"`python -m train adapt`"
        ) from err
    for group, setting in zip(optimiser.param_groups, fused, strict=True):
        group["fused"] = setting  # how to compute is this run's choice
