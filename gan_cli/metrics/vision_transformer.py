"""DINOv2 and CLIP as extractors, with weights in a file of the user's; the networks are timm's.

FD on DINOv2: Stein et al. 2023 (arXiv:2306.04675), after Oquab et al. 2023 (arXiv:2304.07193). CLIP: Radford et al.
2021 (arXiv:2103.00020).
"""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gan_cli.errors import one_line
from gan_cli.files import is_there, sha256
from gan_cli.metrics.extractor import Extractor, LoadedExtractor, Network
from gan_cli.text import printable
from gan_cli.work import in_background

OF_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation that DINOv2 was given
OF_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
DINO_SIZE, PATCH, OFFSET = 224, 14, 0.1  # pixels; the offset is that of DINOv2's code, where it resizes positions


@dataclass(frozen=True, kw_only=True)
class TransformerExtractor(Extractor):
    """A vision transformer with the weights in the file `weights`, as its authors or timm publish them.

    Their SHA-256 has to begin with `sha256`, if that is given. Metrics carry the first digits of it in their names.
    """

    weights: str | None
    sha256: str | None

    @abstractmethod
    def build(self, state: dict[str, Tensor]) -> tuple[str, Network]:
        """The network's short name, and the network with these weights; any exception means that they do not fit."""

    def load(self) -> LoadedExtractor:
        return in_background("reading the extractor's weights", self.read)

    def read(self) -> LoadedExtractor:
        if self.weights is None or not is_there(Path(self.weights)):
            shown = printable(str(self.weights))
            raise ValueError(f"dataset.metrics.extractor.weights={shown} is not a file: give the weights' file")
        path = Path(self.weights)
        try:
            digest = sha256(path)
        except OSError as error:
            raise ValueError(f"the extractor's weights cannot be read: {one_line(error)}") from error
        if self.sha256 is not None and not digest.startswith(self.sha256):
            shown = f"its SHA-256 begins with {digest[:8]}, not {self.sha256[:8]}"
            raise ValueError(f"{printable(path)} is not the expected file: {shown}")
        timm()
        try:
            name, network = self.build(read_tensors(path))
        except Exception as error:  # readers and timm raise nearly anything for a file that does not fit
            raise ValueError(
                f"{printable(path)} does not hold weights of {type(self).__name__}: {one_line(error)}"
            ) from error
        return LoadedExtractor(
            network.eval().requires_grad_(False),
            name=name,
            weights_sha256=digest,
            suffix=f"_{name}_{digest[:8]}",
            channels=3,
            has_logits=False,
        )


@dataclass(frozen=True, kw_only=True)
class DINOv2Extractor(TransformerExtractor):
    """The class token of DINOv2 at 224 pixels, 1,024 features of the large one; weights in its authors' format."""

    weights_family = "dinov2"

    size: Literal["small", "base", "large"]

    def build(self, state: dict[str, Tensor]) -> tuple[str, Network]:
        vit = timm().create_model(f"vit_{self.size}_patch14_dinov2", img_size=DINO_SIZE, num_classes=0)
        positions = resized_positions(state["pos_embed"], DINO_SIZE // PATCH)
        load_checked(vit, state | {"pos_embed": positions})
        return f"dinov2_vit{self.size[0]}14", Transformer(vit, DINO_SIZE, *OF_IMAGENET)


@dataclass(frozen=True, kw_only=True)
class CLIPExtractor(TransformerExtractor):
    """The image embedding of OpenAI's CLIP ViT-L/14 at 336 pixels, 768 features; weights in open_clip's format."""

    weights_family = "clip"

    def build(self, state: dict[str, Tensor]) -> tuple[str, Network]:
        vit = timm().create_model("vit_large_patch14_clip_quickgelu_336", num_classes=768)
        load_checked(vit, state)
        return "clip_vitl14_336", Transformer(vit, 336, *OF_CLIP)


class Transformer(Network):
    """Bytes [batch, 3, height, width], resized to `size` pixels, to the features of `vit`, and no logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, vit: nn.Module, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__("transformer", ["features", "logits"])
        self.vit, self.size = vit, size
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        images = pixels.float()
        if images.shape[-2:] != (self.size, self.size):
            images = interpolate(images, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 255)
        features = self.vit((images / 255 - self.mean) / self.std)
        return features, features[:, :0]


def timm() -> Any:
    """The library, which only these extractors need."""
    try:
        import timm
    except ImportError as error:
        raise ValueError("DINOv2 and CLIP need the package timm: pip install 'gan-cli[transformers]'") from error
    return timm


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The file's tensors, read without running code in it."""
    if path.suffix == ".safetensors":
        return load_file(path)
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def load_checked(vit: nn.Module, state: dict[str, Tensor]) -> None:
    """Loads weights in the authors' or in timm's own format; raises an error unless every one is there and fits."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    ours: Any = vit  # timm types it as its own class, which is imported where it is used alone
    vit.load_state_dict(checkpoint_filter_fn(state, ours))


def resized_positions(positions: Tensor, side: int) -> Tensor:
    """Position embeddings [1, 1 + patches, width] for another number of patches, as DINOv2's own code resizes them."""
    own = round((positions.shape[1] - 1) ** 0.5)
    if own == side:
        return positions
    grid = positions[:, 1:].reshape(1, own, own, -1).permute(0, 3, 1, 2)
    scale = (side + OFFSET) / own
    resized = interpolate(grid.float(), scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([positions[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], 1)
