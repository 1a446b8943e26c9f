"""Small digit classifiers whose weights ship with the package, for data that Inception does not fit."""

from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.functional import interpolate

from gan_cli.errors import one_line
from gan_cli.files import sha256
from gan_cli.metrics.extractor import Extractor, LoadedExtractor, Network

NUM_CLASSES = 10
NUM_FEATURES = 64
SIZES = {"digits_v2": 16, "mnist_v2": 32, "digits": 16, "mnist": 32}  # pixels each classifier was trained at


@dataclass(frozen=True, kw_only=True)
class ClassifierExtractor(Extractor):
    """The shipped classifier of this name; `python -m gan_cli.metrics.train_classifier` makes the weights.

    `digits` and `mnist` are those of version 0.1.0, kept until 0.3.0 for comparing with earlier runs.
    """

    name: Literal["digits_v2", "mnist_v2", "digits", "mnist"]

    @property
    def weights_family(self) -> str:  # type: ignore[override]
        return f"shipped classifier {self.name}"

    def load(self) -> LoadedExtractor:
        layers = convolutions() if self.name.endswith("_v2") else first_convolutions()
        network = Classifier(self.name, ["features", "logits"], size=SIZES[self.name], layers=layers)
        with as_file(files("gan_cli.metrics") / "weights" / f"{self.name}.safetensors") as path:
            try:
                with safe_open(path, "pt") as weights:
                    network.load_state_dict({name: weights.get_tensor(name) for name in network.state_dict()})
                digest = sha256(path)
            except (SafetensorError, OSError, RuntimeError) as error:
                raise ValueError(f"{path} is damaged, install gan-cli again: {one_line(error)}") from error
        return LoadedExtractor(
            network.eval().requires_grad_(False),
            name=f"{self.name} classifier",
            weights_sha256=digest,
            suffix=f"_{self.name}",
            channels=1,
            num_classes=NUM_CLASSES,
        )


def convolutions(channels: int = 1) -> nn.Sequential:
    """The features are linear, so that none can be zero on every image; means keep what maxima would lose."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4)),
        *(nn.Flatten(), nn.Linear(768, NUM_FEATURES)),
    )


def with_norms(layers: nn.Sequential) -> nn.Sequential:
    """A batch normalization after each layer with weights; the last one has no weights of its own."""
    normed: list[nn.Module] = []
    for layer in layers:
        normed.append(layer)
        if isinstance(layer, nn.Conv2d):
            normed.append(nn.BatchNorm2d(layer.out_channels))
        elif isinstance(layer, nn.Linear):
            normed.append(nn.BatchNorm1d(layer.out_features).requires_grad_(False))
    return nn.Sequential(*normed)


def first_convolutions() -> nn.Sequential:
    """Those of version 0.1.0."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 64), nn.ReLU()),
    )


class Classifier(Network):
    """Grey bytes [batch, 1, height, width] to the 64 features of `layers` and 10 class logits, at `size` pixels."""

    def __init__(self, name: str, features_list: list[str], *, size: int, layers: nn.Sequential) -> None:
        super().__init__(name, features_list)
        self.size = size
        self.features = layers
        self.logits = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        images = pixels.float()
        if images.shape[-2:] != (self.size, self.size):
            images = interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        features = self.features(images / 127.5 - 1)
        outputs = {"features": features, "logits": self.logits(features)}
        return tuple(outputs[name] for name in self.features_list)

    @staticmethod
    def get_dummy_input_for_compile() -> Tensor:
        return torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
