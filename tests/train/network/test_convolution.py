"""Convolutions as matrix products, against torch's own: values and both gradients."""

import pytest
import torch
from torch.nn import functional as F

from train.network.convolution import conv2d


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((5, 1, 9, 8), (4, 1, 7, 7), 2, 3),  # a stem, one channel and three; odd and even maps
        ((5, 3, 10, 7), (4, 3, 7, 7), 2, 3),
        ((4, 6, 2, 2), (5, 6, 3, 3), 1, 1),  # last stages of short clips
        ((4, 6, 1, 2), (5, 6, 3, 3), 1, 1),
        ((4, 6, 2, 1), (5, 6, 3, 3), 1, 1),
        ((4, 6, 1, 1), (5, 6, 3, 3), 1, 1),
        ((4, 6, 2, 3), (5, 6, 3, 3), 1, 1),  # left to torch
        ((4, 6, 2, 2), (5, 6, 3, 3), 2, 1),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_and_its_gradients_are_torchs(
    shape: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: int, layout: torch.memory_format
) -> None:
    """Within 2e-5 of values and gradients up to about 30."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).contiguous(memory_format=layout)
    weight = torch.randn(kernel, generator=generator).contiguous(memory_format=layout)
    is_stem = kernel[2] == 7
    results = []
    for convolve in (
        lambda a, b: conv2d(a, b, stride, padding),
        lambda a, b: F.conv2d(a, b, None, stride, padding),
    ):
        a, b = x.clone().requires_grad_(not is_stem), weight.clone().requires_grad_()
        y = convolve(a, b)
        y.backward(torch.cos(torch.arange(y.numel()).view_as(y)))
        results.append((y.detach(), b.grad, a.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


def test_an_input_that_needs_a_gradient_gets_it_from_a_stem_too() -> None:
    x, weight = torch.randn(2, 1, 9, 8, requires_grad=True), torch.randn(3, 1, 7, 7, requires_grad=True)
    conv2d(x, weight, 2, 3).sum().backward()
    expected = torch.nn.grad.conv2d_input(x.shape, weight, torch.ones(2, 3, 5, 4), stride=2, padding=3)
    torch.testing.assert_close(x.grad, expected, rtol=0, atol=1e-5)


def test_a_last_stage_in_bfloat16_is_the_rounded_convolution_with_rounded_gradients() -> None:
    """Inputs rounded as autocast rounds them; sums of 54 products of order one, within 1 % of the largest."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, 2, 2, generator=generator).bfloat16().float().requires_grad_()
    weight = torch.randn(5, 6, 3, 3, generator=generator).bfloat16().float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = conv2d(x, weight, 1, 1)
    assert y.dtype == torch.bfloat16
    assert "TinyMap" in type(y.grad_fn).__name__  # not left to torch
    y.backward(torch.ones_like(y))
    assert x.grad is not None
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    expected = F.conv2d(x.double(), weight.double(), None, 1, 1)
    to_x, to_weight = torch.autograd.grad(expected.sum(), (x, weight))
    for ours, exact in ((y, expected), (x.grad, to_x), (weight.grad, to_weight)):
        torch.testing.assert_close(ours.double(), exact.double(), rtol=0, atol=0.01 * float(exact.detach().abs().max()))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2), (4, 1)])
def test_a_strided_convolution_of_a_narrow_map_has_a_finite_gradient_in_bfloat16(size: tuple[int, int]) -> None:
    """Memory that was freed full of NaN shows what is not written: so it was in torch 2.14 on AVX-512."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 16, *size, generator=generator).bfloat16().requires_grad_()
    weight = torch.randn(32, 16, 3, 3, generator=generator).bfloat16().float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = conv2d(x, weight, 2, 1)
    filled = [torch.full((2**k,), torch.nan) for k in range(4, 18) for _ in range(8)]
    del filled
    y.float().sum().backward()
    expected = F.conv2d(x.double(), weight.double(), None, 2, 1)
    (exact,) = torch.autograd.grad(expected.sum(), weight)
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad.double(), exact.double(), rtol=0, atol=0.01 * float(exact.abs().max()))
