"""Folded convolutions against the two layers that they replace: outputs and every gradient, in float64."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gan_cli.models.folded import ConvMeanPool, ImageConv, ImageConvTranspose, PixelConvTranspose, UpsampleConv


def convolved_and_pooled(layer: nn.Conv2d, images: Tensor) -> Tensor:
    return functional.avg_pool2d(nn.Conv2d.forward(layer, images), 2)


def repeated_and_convolved(layer: nn.Conv2d, images: Tensor) -> Tensor:
    return nn.Conv2d.forward(layer, functional.interpolate(images, scale_factor=2))


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (6, 10)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("kind", "plain"), [(ConvMeanPool, convolved_and_pooled), (UpsampleConv, repeated_and_convolved)]
)
def test_it_is_the_two_layers_in_one(
    kind: Callable[[int, int], nn.Conv2d],
    plain: Callable[[nn.Conv2d, Tensor], Tensor],
    layout: torch.memory_format,
    size: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    layer = kind(3, 5).double().to(memory_format=layout)
    images = torch.randn(2, 3, *size, dtype=torch.float64).requires_grad_()
    inputs = [images, layer.weight, layer.bias]
    made, expected = layer(images), plain(layer, images)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(made)
    found, wanted = (torch.autograd.grad((outputs * weights).sum(), inputs) for outputs in (made, expected))
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_transposed_convolution_of_one_pixel_is_a_matrix_product(bias: bool, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer = PixelConvTranspose(3, 5, 4, bias=bias).double().to(memory_format=layout)
    images = torch.randn(2, 3, 1, 1, dtype=torch.float64).requires_grad_()
    inputs = [images, *layer.parameters()]
    made, expected = layer(images), nn.ConvTranspose2d.forward(layer, images)
    assert made.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(made)
    found, wanted = (torch.autograd.grad((outputs * weights).sum(), inputs) for outputs in (made, expected))
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("kernel", "padding"), [(4, 1), (5, 2)])
@pytest.mark.parametrize("made_of", [ImageConv, ImageConvTranspose])
def test_layers_of_grey_images_are_plain_convolutions(
    made_of: Any, kernel: int, padding: int, channels: int, bias: bool
) -> None:
    """Outputs, gradients, and the gradient of a penalty of the gradient."""
    torch.manual_seed(0)
    reads = made_of is ImageConv
    pair = (channels, 4) if reads else (4, channels)
    layer = made_of(*pair, kernel, stride=2, padding=padding, bias=bias).double().to(memory_format=torch.channels_last)
    images = torch.randn(2, pair[0], 6, 8, dtype=torch.float64).requires_grad_()
    found = []
    for forward in (layer.forward, partial((nn.Conv2d if reads else nn.ConvTranspose2d).forward, layer)):
        outputs = forward(images)
        (gradient,) = torch.autograd.grad(outputs.sin().sum(), images, create_graph=True)
        penalty = torch.autograd.grad(gradient.square().sum(), list(layer.parameters()), retain_graph=True)
        found.append(
            [outputs, gradient, *penalty, *torch.autograd.grad(outputs.pow(2).sum(), list(layer.parameters()))]
        )
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
