"""What tasks keep to themselves beside a convolution that they share.

Shapes: B clips, C and D channels in and out, F bands, T frames.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from train.config import Variant
from train.network.convolution import conv2d


class SeriesAdapter(nn.Module):
    """Batch norm and 1x1 convolution with an identity around them (Rebuffi et al. 2017, arXiv:1705.08045)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, F, T) to the same shape."""
        return x + self.conv(self.norm(x))


class ConvSite(nn.Module):
    """A 3x3 convolution that all tasks share, what each task adds to it, and each task's batch norm.

    ``parallel``: a 1x1 convolution of the same input beside it (Rebuffi et al. 2018, arXiv:1803.10082), placed as in
    the paper's code: its output is added before the task's batch norm and has none of its own. ``series``: an adapter
    behind it, before the batch norm. ``none``, ``split`` and ``bn`` add nothing. All of it is linear at inference, so
    that a task's site folds into one convolution.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, variant: Variant, n_tasks: int) -> None:
        """``n_tasks`` is the number of adapter sets and batch norms: 1 where the tasks share all of the site."""
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c_out) for _ in range(n_tasks))
        self.parallel = nn.ModuleList()
        self.series = nn.ModuleList()
        if variant == "parallel":
            self.parallel.extend(nn.Conv2d(c_in, c_out, 1, stride, bias=False) for _ in range(n_tasks))
        if variant == "series":
            self.series.extend(SeriesAdapter(c_out) for _ in range(n_tasks))

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Map (B, C, F, T) to (B, D, F / stride, T / stride) for one task."""
        weight = self.conv.weight
        if self.parallel:
            # A 1x1 convolution of the same input and stride is the centre tap of a 3x3 one: compute one, not two.
            adapter = self.parallel[task].weight
            assert isinstance(adapter, Tensor)
            weight = weight + F.pad(adapter, (1, 1, 1, 1))
        y = conv2d(x, weight, self.conv.stride[0], 1)
        if self.series:
            y = self.series[task](y)
        return self.norms[task](y)
