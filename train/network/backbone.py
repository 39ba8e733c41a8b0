"""ResNet-18 (He et al. 2016, arXiv:1512.03385) over spectrograms, with a branch for each task.

Shapes: B clips, C and D channels in and out, F bands, T frames, E = head_dim.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.config import ModelConfig, Trunk, Variant
from train.network.adapters import ConvSite
from train.network.convolution import StemConv

ADAPTED: tuple[Variant, ...] = ("bn", "series", "parallel")
"""Variants whose tasks differ from layer 2 on."""


class BasicBlock(nn.Module):
    """Two 3x3 sites and a shortcut.

    With ``project`` a shortcut that changes shape is a 1x1 convolution and batch norm, as in torchvision. Without, it
    has no parameters (option A of He et al.): average pooling, and zeros for the new channels.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, variant: Variant, n_tasks: int, project: bool) -> None:
        super().__init__()
        self.site1 = ConvSite(c_in, c_out, stride, variant, n_tasks)
        self.site2 = ConvSite(c_out, c_out, 1, variant, n_tasks)
        self.n_new = c_out - c_in
        self.stride = stride
        self.downsample: nn.Module | None = None
        if project and (stride != 1 or c_in != c_out):
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Map (B, C, F, T) to (B, D, F / stride, T / stride) for one task."""
        # In place: no batch norm needs its output again for its gradient.
        y = self.site2(F.relu(self.site1(x, task), inplace=True), task)
        return F.relu(y.add_(self.shortcut(x)), inplace=True)

    def shortcut(self, x: Tensor) -> Tensor:
        """Map (B, C, F, T) to (B, D, F / stride, T / stride), alike for all tasks."""
        if self.downsample is not None:
            return self.downsample(x)
        if self.stride != 1:
            # Cells at the end of an odd axis average what there is, so that any size works and none needs parameters.
            x = F.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)
        return F.pad(x, (0, 0, 0, 0, 0, self.n_new)) if self.n_new else x


class EndNorm(nn.Module):
    """A batch norm of each task's own, before pooling."""

    def __init__(self, channels: int, n_tasks: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(n_tasks))

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Map (B, D, F, T) to the same shape for one task."""
        return F.relu(self.norms[task](x), inplace=True)


class Backbone(nn.Module):
    """What all tasks share is computed once by :meth:`shared`; :meth:`branch` goes on for one task.

    Adapter variants share the stem and layer 1, as the paper's code does; ``split`` shares all but the last layer, and
    ``none`` everything, so that its branches are one and the same embedding.
    """

    def __init__(self, cfg: ModelConfig, in_channels: int) -> None:
        super().__init__()
        self.cfg = cfg
        self.in_channels = in_channels
        self.tasks = cfg.tasks
        self.adapted = cfg.variant in ADAPTED
        project = _projects(cfg.trunk, cfg.variant)
        n_sets = len(cfg.tasks) if self.adapted else 1
        w = cfg.width
        self.stem_conv = StemConv(in_channels, w, 7, stride=2, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm2d(w)
        self.layer1 = _stage(w, w, 1, cfg.variant, 1, project)  # one set of adapters, whatever the number of tasks
        self.layer2 = _stage(w, 2 * w, 2, cfg.variant, n_sets, project)
        self.layer3 = _stage(2 * w, 4 * w, 2, cfg.variant, n_sets, project)
        self.layer4 = _stage(4 * w, 8 * w, 2, cfg.variant, n_sets, project)
        self.end = None if project else EndNorm(8 * w, n_sets)
        n_heads = 1 if cfg.variant == "none" else len(cfg.tasks)
        self.heads = nn.ModuleList(nn.Linear(8 * w, cfg.head_dim) for _ in range(n_heads))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")

    @property
    def n_tasks(self) -> int:
        """Number of branches."""
        return len(self.tasks)

    def shared(self, x: Tensor) -> Tensor:
        """Map (B, C, F, T) to what the branches start from: layer 1's output, or pooled features if they share more."""
        x = F.relu(self.stem_norm(self.stem_conv(x)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for block in self.layer1:
            x = block(x, 0)
        return x if self.adapted else self._rest(x, 0)

    def branch(self, h: Tensor, task: int) -> Tensor:
        """Map the output of :meth:`shared` to the (B, E) embedding of one task."""
        if not 0 <= task < self.n_tasks:
            raise IndexError(f"task {task} of a backbone with {self.n_tasks}")
        pooled = self._rest(h, task) if self.adapted else h
        return self.heads[min(task, len(self.heads) - 1)](pooled)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (B, C, F, T) to a (B, E) embedding for each task."""
        h = self.shared(x)
        return tuple(self.branch(h, task) for task in range(self.n_tasks))

    def _rest(self, x: Tensor, task: int) -> Tensor:
        """Map (B, width, F, T) to pooled features (B, 8 * width)."""
        for layer in (self.layer2, self.layer3, self.layer4):
            for block in layer:
                x = block(x, task)
        if self.end is not None:
            x = self.end(x, task)
        return torch.mean(x, dim=(2, 3))


def _projects(trunk: Trunk, variant: Variant) -> bool:
    return trunk == "published" and variant not in ADAPTED


def _stage(c_in: int, c_out: int, stride: int, variant: Variant, n_tasks: int, project: bool) -> nn.ModuleList:
    return nn.ModuleList(
        [
            BasicBlock(c_in, c_out, stride, variant, n_tasks, project),
            BasicBlock(c_out, c_out, 1, variant, n_tasks, project),
        ]
    )
