"""Several processes that train as one: ``torchrun --nproc-per-node N -m train pretrain ...``.

The loss and the gradients are those of one process with the whole batch: negatives come from all processes, and batch
norms take their statistics over all of them. Each process computes the mean loss over its own rows, and
DistributedDataParallel averages the gradients; a sum over processes therefore passes gradients back as a sum.
"""

import os
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision as LightningMixedPrecision
from torch import Tensor, distributed, nn

from train.errors import ConfigError

PRECISIONS: dict[str, Literal["bf16-mixed", "16-mixed"]] = {"bf16": "bf16-mixed", "fp16": "16-mixed"}


class MixedPrecision(LightningMixedPrecision):
    """Autocast that leaves a module's inputs alone: a waveform in bfloat16 would reach the front-end with 8 bits."""

    def convert_input(self, data: Any) -> Any:
        """Give ``data`` back as it is."""
        return data


def make_fabric(device: str, precision: str) -> Fabric:
    """Fabric for this process, and for the others if ``torchrun`` started it.

    Raises:
        ConfigError: If the device is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: no CUDA device is available here; use --device cpu, or auto")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    plugins: Any = [MixedPrecision(PRECISIONS[precision], device)] if precision in PRECISIONS else []
    if world == 1:
        return Fabric(accelerator=device, devices=1, plugins=plugins)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    fabric = Fabric(accelerator=device, devices=local, num_nodes=world // local, strategy="ddp", plugins=plugins)
    fabric.launch()
    return fabric


def share_batch_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """Let the batch norms of a module take their statistics over all processes, if there are several."""
    if not _several():
        return module
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            setattr(module, name, SharedBatchNorm.of(child))
        else:
            share_batch_norms(child, device)
    return module


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the rows of all processes, however many each has, on a CPU (torch's own needs a GPU)."""

    @classmethod
    def of(cls, norm: nn.modules.batchnorm._BatchNorm) -> "SharedBatchNorm":
        """The same batch norm, its parameters and statistics shared with ``norm``."""
        shared = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        shared.weight, shared.bias = norm.weight, norm.bias
        shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
        shared.num_batches_tracked = norm.num_batches_tracked
        return shared

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, ...) to the same shape."""
        if not self.training:
            return super().forward(x)
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        n = float(all_reduce(x.new_tensor(x.numel() // x.shape[1], dtype=torch.float64)))
        mean = all_reduce(x.sum(axes, dtype=torch.float32)) / n
        centred = x - mean.view(shape)
        variance = all_reduce(centred.square().sum(axes)) / n
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                momentum = 0.1 if self.momentum is None else self.momentum
                self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean.detach(), momentum)
                self.running_var.lerp_(variance.detach() * (n / max(1, n - 1)), momentum)
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        return y * self.weight.view(shape) + self.bias.view(shape) if self.affine else y

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        assert input.ndim >= 2


def all_reduce(x: Tensor) -> Tensor:
    """Sum over processes, differentiable; ``x`` itself in a single process."""
    return _AllReduce.apply(x) if _several() else x


def gather_rows(x: Tensor) -> Tensor:
    """(n, P) of each process, one below the other in order of rank: (world * n, P), differentiable."""
    return _GatherRows.apply(x) if _several() else x


def rank() -> int:
    """Number of this process, from 0 on."""
    return distributed.get_rank() if _several() else 0


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        n = len(total) // distributed.get_world_size()
        first = distributed.get_rank() * n
        return total[first : first + n]
