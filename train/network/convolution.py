"""Convolutions that a CPU computes faster as matrix products; the same values up to rounding.

oneDNN's kernels take the gradient of a kernel to have many input channels and a large map. The first convolution of a
network has neither, and neither has its last stage when clips are short: there its weight gradient runs at a tenth to a
third of the speed of a matrix product. In bfloat16 that holds for the last stage alone. Shapes: B clips, C and D
channels in and out, F bands, T frames.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FEW_CHANNELS = 3


def conv2d(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Map (B, C, F, T) to (B, D, F', T') by (D, C, K, K) kernels, as ``torch.nn.functional.conv2d`` does."""
    on_cpu, halved = x.device.type == "cpu", torch.is_autocast_enabled("cpu")
    if on_cpu and not halved and x.dtype == torch.float32 and weight.shape[1] <= _FEW_CHANNELS and not x.requires_grad:
        return _FewChannels.apply(x, weight, stride, padding)
    if on_cpu and max(x.shape[2:]) <= 2 and (weight.shape[2], stride, padding) == (3, 1, 1):
        if halved:  # as autocast does for a convolution
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        return _TinyMap.apply(x, weight)
    if on_cpu and halved and stride > 1 and x.shape[3] == 1:
        # oneDNN leaves parts of this weight gradient unwritten in bfloat16 (torch 2.14, AVX-512): NaN now and then.
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x.float(), weight, None, stride, padding).to(torch.get_autocast_dtype("cpu"))
    return F.conv2d(x, weight, None, stride, padding)


class StemConv(nn.Conv2d):
    """``nn.Conv2d`` without a bias, computed by :func:`conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, F, T) to (B, D, F', T')."""
        assert isinstance(self.padding[0], int)
        return conv2d(x, self.weight, self.stride[0], self.padding[0])


class _FewChannels(torch.autograd.Function):
    """The weight gradient as one product of the input, shifted by each tap, with the output's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.kernel, ctx.stride, ctx.padding = weight.shape, stride, padding
        return F.conv2d(x, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        d, c, height, width = ctx.kernel
        padded = F.pad(x, [ctx.padding] * 4).transpose(0, 1)  # (C, B, F + 2 * padding, T + 2 * padding)
        last_f, last_t = (ctx.stride * (n - 1) for n in gradient.shape[2:])
        shifted = torch.stack(
            [
                padded[:, :, i : i + last_f + 1 : ctx.stride, j : j + last_t + 1 : ctx.stride]
                for i in range(height)
                for j in range(width)
            ],
            dim=1,
        )  # (C, K * K, B, F', T')
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, d)  # (B * F' * T', D)
        product = shifted.view(c * height * width, -1) @ rows
        return None, product.T.reshape(d, c, height, width), None, None


class _TinyMap(torch.autograd.Function):
    """A 3x3 convolution, padded by one, of a map of at most two by two: each cell of the output sees all of the input.

    One product of (B, cells * C) with (cells * C, cells * D) then has no padding to multiply with; the convolution
    counts 36 taps, of which 16 lie on the map.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        n, c, height, width = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(n, height * width * c)  # of a process without rows, too
        taps = weight.permute(0, 2, 3, 1)  # (D, 3, 3, C)
        seen = [taps[:, 1 - i : 1 - i + height, 1 - j : 1 - j + width] for i in range(height) for j in range(width)]
        dense = torch.stack(seen).view(-1, height * width * c)  # (cells * D, cells * C)
        ctx.save_for_backward(flat, dense)
        ctx.kernel, ctx.map = weight.shape, (height, width)
        return (flat @ dense.T).view(n, height, width, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (flat, dense), (gradient,) = ctx.saved_tensors, gradients
        (d, c, _, _), (height, width) = ctx.kernel, ctx.map
        rows = gradient.permute(0, 2, 3, 1).reshape(len(flat), height * width * d)  # (B, cells * D)
        to_x = (rows @ dense).view(len(flat), height, width, c).permute(0, 3, 1, 2)
        products = (rows.T @ flat).view(height, width, d, height, width, c)
        taps = products.new_zeros(d, 3, 3, c)
        for i in range(height):
            for j in range(width):
                taps[:, 1 - i : 1 - i + height, 1 - j : 1 - j + width] += products[i, j]
        return to_x, taps.permute(0, 3, 1, 2)
