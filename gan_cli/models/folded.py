"""Convolutions that are computed as cheaper ones; weights, gradients and checkpoints are those of the plain ones.

The mean of the 2x2 outputs of a 3x3 convolution is a 4x4 convolution of stride 2, whose kernel is the mean of the 3x3
kernel at four shifts. A 3x3 convolution of pixels repeated 2x2 is a transposed 4x4 convolution of stride 2, whose
kernel is the sum of the rotated kernel at these shifts. Both have 4/9 of the multiplications.
"""

from torch import Tensor, nn
from torch.nn import functional


class ConvMeanPool(nn.Conv2d):
    """A 3x3 convolution, and the mean of every 2x2 pixels: images of half the size."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__(fan_in, fan_out, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        kernel = functional.avg_pool2d(functional.pad(self.weight, (1, 1, 1, 1)), 2, stride=1)
        return functional.conv2d(images, kernel, self.bias, stride=2, padding=1)


class UpsampleConv(nn.Conv2d):
    """A 3x3 convolution of images in which every pixel is repeated 2x2: images of twice the size."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__(fan_in, fan_out, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        rotated = functional.pad(self.weight.flip(2, 3), (1, 1, 1, 1))
        kernel = functional.avg_pool2d(rotated, 2, stride=1, divisor_override=1)
        return functional.conv_transpose2d(images, kernel.transpose(0, 1), self.bias, stride=2, padding=1)


class PixelConvTranspose(nn.ConvTranspose2d):
    """A transposed convolution of images of one pixel, which is a matrix product: images of `size` pixels."""

    def __init__(self, fan_in: int, fan_out: int, size: int, *, bias: bool) -> None:
        super().__init__(fan_in, fan_out, size, bias=bias)

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        kernel = self.weight.permute(0, 2, 3, 1)  # in channels last, of which nothing is copied
        made = (images.flatten(1) @ kernel.flatten(1)).unflatten(1, kernel.shape[1:]).permute(0, 3, 1, 2)
        return made if self.bias is None else made + self.bias[:, None, None]


class ImageConv(nn.Conv2d):
    """A convolution of images; of grey ones it is a product of their patches with the kernel.

    Convolutions with one channel are slow to differentiate with respect to it.
    """

    def forward(self, images: Tensor) -> Tensor:
        if self.in_channels > 1:
            return super().forward(images)
        (kernel, _), (stride, _), padding = self.kernel_size, self.stride, int(self.padding[0])
        patches = functional.unfold(images, kernel, padding=padding, stride=stride)
        made = patches.transpose(1, 2) @ self.weight.flatten(1).t()
        size = [(side + 2 * padding - kernel) // stride + 1 for side in images.shape[2:]]
        made = made.transpose(1, 2).unflatten(2, size)  # channels last
        return made if self.bias is None else made + self.bias[:, None, None]


class ImageConvTranspose(nn.ConvTranspose2d):
    """A transposed convolution that makes images; grey ones are the sum of patches, products of pixels and kernel."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        if self.out_channels > 1:
            return super().forward(images)
        (kernel, _), (stride, _), padding = self.kernel_size, self.stride, int(self.padding[0])
        patches = self.weight.flatten(1).t() @ images.flatten(2)
        size = tuple((side - 1) * stride - 2 * padding + kernel for side in images.shape[2:])
        made = functional.fold(patches, size, kernel, padding=padding, stride=stride)
        return made if self.bias is None else made + self.bias[:, None, None]
