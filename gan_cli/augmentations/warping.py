"""Images under affine maps of their pixels, differentiable as often as needed (Karras et al. 2020, arXiv:2006.06676).

`maps` [batch, 3, 3] say where each pixel of the result comes from, in pixels from the centre. Beyond each border lies
the mirror image, so that an image of n pixels has the period 2 (n - 1).
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gan_cli.kept import kept
from gan_cli.shapes import Images

aten = torch.ops.aten

# The low-pass filter sym6 of Daubechies' least asymmetric wavelets (1992, table 6.3): orthogonal to its shifts by two.
WAVELET = [
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
]
BEFORE = 5  # taps before the one at the pixel itself
OFFSET = sum(n * tap for n, tap in enumerate(WAVELET)) / sum(WAVELET) - BEFORE  # of its centre of mass, in half pixels


def product(first: Tensor, second: Tensor) -> Tensor:
    """The matrix product, by element, because a GPU that multiplies matrices in tf32 would round positions."""
    return (first[:, :, :, None] * second[:, None, :, :]).sum(2)


def matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return matrix((x, zero, zero), (zero, y, zero), (zero, zero, one))


def rotation(angle: Tensor) -> Tensor:
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return matrix((cos, -sin, zero), (sin, cos, zero), (zero, zero, one))


def shift(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return matrix((one, zero, x), (zero, one, y), (zero, zero, one))


def resampled(images: Images, maps: Tensor) -> Images:
    """The nearest pixels: exact for maps that take pixels to pixels."""
    height, width = images.shape[2:]
    rows, columns = (torch.arange(size, **like(images)) - (size - 1) / 2 for size in (height, width))
    part = part_of_period(maps, rows, columns, height, width, 0.0)
    return sample(images, 1 - 2 * (1 - 2 * part).abs(), NEAREST)


def filtered(images: Images, maps: Tensor) -> Images:
    """Interpolated between the pixels of the image at twice its resolution, by the wavelet in both directions."""
    height, width = images.shape[2:]
    large = upsampling(height, **like(images)) @ images @ upsampling(width, **like(images)).T
    rows, columns = (
        (torch.arange(-BEFORE, 2 * size + BEFORE, **like(images)) - OFFSET) / 2 - (size - 1) / 2
        for size in (height, width)
    )
    sampled = sample(large, 2 * part_of_period(maps, rows, columns, height, width, OFFSET / 2) - 1, BILINEAR)
    return downsampling(height, **like(images)) @ sampled @ downsampling(width, **like(images)).T


def like(images: Images) -> dict[str, Any]:
    return {"dtype": images.dtype, "device": images.device}


def part_of_period(maps: Tensor, rows: Tensor, columns: Tensor, height: int, width: int, offset: float) -> Tensor:
    """Where the maps take each row and column, x and y [batch, 2, rows, columns]: 0 is a first pixel, 1/2 a last one.

    `offset` pixels are added.
    """
    one = torch.ones_like(maps[:, 0, 0])
    x, y = (one * (size - 1) for size in (width, height))
    in_periods = product(shift(0.25 + offset / 2 / x, 0.25 + offset / 2 / y), scaling(0.5 / x, 0.5 / y))
    across, down, constant = product(in_periods, maps)[:, :2, :, None, None].unbind(2)
    periods = across * columns + down * rows[:, None] + constant
    return periods - periods.floor()


@kept
def upsampling(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[4 (size - 1) + 1, size]: samples at twice the resolution of the image and its mirror image, one full period.

    Sample m lies at pixel (m - OFFSET) / 2.
    """
    period = 4 * (size - 1)
    made = torch.zeros(period + 1, size, dtype=torch.float64)
    for pixel in range(2 * size - 2):
        source = size - 1 - abs(size - 1 - pixel)
        for n, tap in enumerate(WAVELET):
            made[(2 * pixel - BEFORE + n) % period, source] += math.sqrt(2) * tap
    made[period] = made[0]
    return made.to(device=device, dtype=dtype)


@kept
def downsampling(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[size, 2 size + 2 BEFORE]: the transpose, of samples that go on beyond the image on both sides."""
    made = torch.zeros(size, 2 * size + 2 * BEFORE, dtype=torch.float64)
    for pixel in range(size):
        made[pixel, 2 * pixel : 2 * pixel + len(WAVELET)] = torch.tensor(WAVELET, dtype=torch.float64) / math.sqrt(2)
    return made.to(device=device, dtype=dtype)


BILINEAR, NEAREST, BORDER = 0, 1, 1  # as aten.grid_sampler_2d takes them


def sample(images: Tensor, grid: Tensor, interpolation: int) -> Tensor:
    """Images at the positions of the grid, x and y from -1 to 1, [batch, 2, rows, columns]."""
    made: Tensor = Sample.apply(images, grid.movedim(1, 3), interpolation)
    return made


class Sample(Function):
    """torch's grid_sample, with further derivatives in the images, which not every version has."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor, interpolation: int) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape, ctx.interpolation = images.shape, interpolation
        output: Tensor = aten.grid_sampler_2d(images, grid, interpolation, BORDER, True)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return Spread.apply(gradient, *ctx.saved_tensors, ctx.shape, ctx.interpolation), None, None


class Spread(Function):
    """The transpose of sampling, which is linear in the images."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size, interpolation: int) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.interpolation = interpolation
        like, wanted = gradient.new_empty(shape), (True, False)  # read for its shape alone
        output: Tensor = aten.grid_sampler_2d_backward(gradient, like, grid, interpolation, BORDER, True, wanted)[0]
        return output

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor, None, None, None]:
        (grid,) = ctx.saved_tensors
        return Sample.apply(second, grid, ctx.interpolation), None, None, None
