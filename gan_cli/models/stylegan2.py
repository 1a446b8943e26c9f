"""The networks of StyleGAN2 (Karras et al. 2020, arXiv:1912.04958), in the configuration of arXiv:2006.06676.

Every weight starts at N(0, 1) and is scaled where it is used, so that an optimizer moves all layers at the same rate
(Karras et al. 2018, arXiv:1710.10196, section 4.1). Leaky ReLUs are homogeneous: the factor sqrt(2), which makes up for
the variance that they take, is in the layer before them.
"""

import math
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear

from gan_cli.models.resampling import Resample, Smooth
from gan_cli.models.shapes import check_shape
from gan_cli.shapes import Codes, Images, Logits

SIZES = [8, 16, 32, 64, 128, 256, 512, 1024]
SLOPE = 0.2  # of the leaky ReLUs below zero
GAIN = math.sqrt(2)
MAPPING_RATE = 0.01  # of the mapping network, as a part of that of all other layers


class Generator(nn.Module):
    """Codes to styles, by a mapping network of `mapping_depth` layers; and styles to images, by the synthesis.

    Layers have `width` channels up to `full_width_until` pixels, and half as many at each doubling beyond. In training
    each layer adds noise of its own, and with `mixing` above 0 there are two codes for each image, the first half of
    the batch and the second: with that probability, an image has the styles of its second code from a random layer on.
    At rest the noise is constant, and each image has one code.

    Raises ValueError for an image shape it cannot make, or without channels at the largest size.
    """

    def __init__(
        self,
        *,
        width: int,
        full_width_until: Annotated[int, Ge(4)],
        mapping_depth: Annotated[int, Ge(1)],
        mixing: Annotated[float, Interval(ge=0, le=1)],
        latent_dim: int,
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        shape = check_shape("stylegan2", image_shape, SIZES, width)
        self.mixing = mixing
        layers: list[nn.Module] = [Normalized()]
        for _ in range(mapping_depth):
            layers += [EqualizedLinear(latent_dim, latent_dim, gain=GAIN, rate=MAPPING_RATE), nn.LeakyReLU(SLOPE)]
        self.mapping = nn.Sequential(*layers)
        self.synthesis = Synthesis(stage_channels(shape.height, width, full_width_until), latent_dim, shape.channels)

    @property
    def takes_pairs(self) -> bool:
        """Whether it is given two codes for each image."""
        return self.training and self.mixing > 0

    def forward(self, codes: Codes) -> Tensor:
        styles = self.mapping(codes)[:, None].expand(-1, self.synthesis.style_shape[0], -1)
        return self.synthesis(self.mixed(*styles.chunk(2)) if self.takes_pairs else styles)

    def mixed(self, first: Tensor, second: Tensor) -> Tensor:
        """The styles [batch, layers, width] of `first`, and from a random layer on those of `second`."""
        images, layers, _ = first.shape
        like = {"device": first.device}
        cut = torch.randint(1, layers, (images, 1), **like)  # type: ignore[call-overload]
        cut = torch.where(torch.rand(images, 1, **like) < self.mixing, cut, layers)  # type: ignore[call-overload]
        return torch.where((torch.arange(layers, **like) < cut)[:, :, None], first, second)  # type: ignore[call-overload]


class Discriminator(nn.Module):
    """Images to logits: 3 x 3 convolutions in pairs, halving the size, the deviation in the batch, two linear layers.

    `residual` adds a 1 x 1 convolution beside each pair, and scales the sum by sqrt(1/2). `deviation_group` is the
    largest number of images that the deviation is taken over. The other settings are the generator's.
    """

    def __init__(
        self,
        *,
        width: int,
        full_width_until: Annotated[int, Ge(4)],
        residual: bool,
        deviation_group: Annotated[int, Ge(1)],
        image_shape: tuple[int, int, int],
        num_outcomes: int,
    ) -> None:
        super().__init__()
        shape = check_shape("stylegan2", image_shape, SIZES, width)
        channels = stage_channels(shape.height, width, full_width_until)[::-1]
        last = channels[-1]
        self.features = nn.Sequential(
            EqualizedConv(shape.channels, channels[0], 1, gain=GAIN),
            nn.LeakyReLU(SLOPE),
            *(Shrink(fan_in, fan_out, residual=residual) for fan_in, fan_out in pairwise(channels)),
            BatchDeviation(deviation_group),
            EqualizedConv(last + 1, last, 3, gain=GAIN, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            EqualizedLinear(last * 4**2, last, gain=GAIN),
            nn.LeakyReLU(SLOPE),
        )
        self.logits = EqualizedLinear(last, num_outcomes)

    def forward(self, images: Images) -> Logits:
        return self.logits(self.features(images))


class Synthesis(nn.Module):
    """Styles [batch, layers, width] to images: a learnable 4 x 4 map, then two layers at each size.

    At each size the features become an image, with the style of the layer that follows; images of smaller sizes are
    upsampled and added.
    """

    def __init__(self, channels: list[int], style_dim: int, image_channels: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(channels[0], 4, 4))
        layers = [StyledLayer(channels[0], channels[0], style_dim, size=4, grow=False)]
        for number, (fan_in, fan_out) in enumerate(pairwise(channels), 3):
            layers += [StyledLayer(fan_in, fan_out, style_dim, size=2**number, grow=True)]
            layers += [StyledLayer(fan_out, fan_out, style_dim, size=2**number, grow=False)]
        self.layers = nn.ModuleList(layers)
        self.to_images = nn.ModuleList(ToImages(width, image_channels, style_dim) for width in channels)
        self.grow = Resample(grow=True)
        self.style_shape = (len(layers) + 1, style_dim)

    def forward(self, styles: Tensor) -> Tensor:
        features, images = self.constant[None], None
        for number, layer in enumerate(self.layers):
            features = layer(features, styles[:, number])
            if number % 2 == 0:
                made = self.to_images[number // 2](features, styles[:, number + 1])
                images = made if images is None else self.grow(images) + made
        assert images is not None
        return images


class Modulated(nn.Module):
    """A convolution whose input channels are scaled by an affine function of the style, which starts around 1.

    Scaling the features, and the outputs in demodulation, equals a kernel for each image (section 2.2): the convolution
    itself is that of the whole batch.
    """

    def __init__(self, fan_in: int, fan_out: int, kernel: int, style_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.affine = EqualizedLinear(style_dim, fan_in)
        nn.init.ones_(self.affine.bias)

    def demodulation(self, scales: Tensor) -> Tensor:
        """What divides each output channel by the length of its kernel under these scales, [batch, channels]."""
        squares: Tensor = self.weight.square().sum((2, 3))
        return (linear(scales.square(), squares) + 1e-8).rsqrt()


class StyledLayer(Modulated):
    """A demodulated 3 x 3 convolution, at twice the size if it grows, noise of learned strength, a leaky ReLU."""

    noise: Tensor

    def __init__(self, fan_in: int, fan_out: int, style_dim: int, *, size: int, grow: bool) -> None:
        super().__init__(fan_in, fan_out, 3, style_dim)
        self.smooth = Smooth(padding=1, gain=4.0) if grow else None
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(size, size))

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        scales = self.affine(style)
        features = features * over_pixels(scales)
        if self.smooth is None:
            made = conv2d(features, self.weight, padding=1)
        else:
            made = self.smooth(conv_transpose2d(features, self.weight.transpose(0, 1), stride=2))
        noise = torch.randn_like(made[:, :1]) if self.training else self.noise
        added = self.strength * noise + self.bias[:, None, None]
        return leaky_relu(made * over_pixels(GAIN * self.demodulation(scales)) + GAIN * added, SLOPE)


class ToImages(Modulated):
    """A 1 x 1 convolution without demodulation."""

    def __init__(self, fan_in: int, fan_out: int, style_dim: int) -> None:
        super().__init__(fan_in, fan_out, 1, style_dim)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        scales = self.affine(style) / math.sqrt(self.weight.shape[1])
        return conv2d(features * over_pixels(scales), self.weight, self.bias)


class Shrink(nn.Module):
    """Two 3 x 3 convolutions, the second at half the size after the filter, each with a leaky ReLU."""

    def __init__(self, fan_in: int, fan_out: int, *, residual: bool) -> None:
        super().__init__()
        self.skip = None
        if residual:
            beside = EqualizedConv(fan_in, fan_out, 1, gain=math.sqrt(1 / 2), bias=False)
            self.skip = nn.Sequential(Resample(grow=False), beside)
        self.layers = nn.Sequential(
            EqualizedConv(fan_in, fan_in, 3, gain=GAIN, padding=1),
            nn.LeakyReLU(SLOPE),
            Smooth(padding=2),
            EqualizedConv(fan_in, fan_out, 3, gain=1.0 if residual else GAIN, stride=2),
            nn.LeakyReLU(SLOPE),
        )

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.layers(features)
        return made if self.skip is None else made + self.skip(features)


class BatchDeviation(nn.Module):
    """One more channel: the standard deviation over a group of images, averaged over channels and pixels.

    Images are in groups of the largest size, at most `group`, that divides the batch; image n is in group n modulo
    their number (Karras et al. 2018, arXiv:1710.10196, section 3).
    """

    reads_batch = True

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, features: Tensor) -> Tensor:
        count, _, height, width = features.shape
        size = next((each for each in range(min(self.group, count), 0, -1) if count % each == 0), 1)
        grouped = features.unflatten(0, (size, -1))
        variance = (grouped - grouped.mean(0)).square().mean(0)
        deviation = (variance + 1e-8).sqrt().mean((1, 2, 3))
        return torch.cat([features, deviation.repeat(size)[:, None, None, None].expand(-1, 1, height, width)], 1)


class Normalized(nn.Module):
    """Each row divided by its root mean square."""

    def forward(self, codes: Tensor) -> Tensor:
        return codes * (codes.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class EqualizedLinear(nn.Linear):
    """`gain` times (W / sqrt(fan in) x + b), which learns at `rate` times the rate of other layers."""

    def __init__(self, fan_in: int, fan_out: int, *, gain: float = 1.0, rate: float = 1.0) -> None:
        super().__init__(fan_in, fan_out)
        nn.init.normal_(self.weight, std=1 / rate)
        nn.init.zeros_(self.bias)
        self.of_weight, self.of_bias = gain * rate / math.sqrt(fan_in), gain * rate

    def forward(self, features: Tensor) -> Tensor:
        return linear(features, self.of_weight * self.weight, self.of_bias * self.bias)


class EqualizedConv(nn.Conv2d):
    """`gain` times (W / sqrt(fan in) x + b)."""

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        kernel: int,
        *,
        gain: float,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(fan_in, fan_out, kernel, stride=stride, padding=padding, bias=bias)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.gain, self.of_weight = gain, gain / math.sqrt(fan_in * kernel**2)

    def forward(self, features: Tensor) -> Tensor:
        bias = None if self.bias is None else self.gain * self.bias
        return conv2d(features, self.of_weight * self.weight, bias, self.stride, self.padding)


def over_pixels(values: Tensor) -> Tensor:
    """[batch, channels], in a shape that multiplies features."""
    return values[:, :, None, None]


def stage_channels(size: int, width: int, full_width_until: int) -> list[int]:
    """Of each size from 4 x 4 up."""
    channels = [min(width, width * full_width_until // 2**number) for number in range(2, size.bit_length())]
    if not channels[-1]:
        least = math.ceil(size / full_width_until)
        raise ValueError(f"width={width} leaves no channel at {size} pixels: make it at least {least}")
    return channels
