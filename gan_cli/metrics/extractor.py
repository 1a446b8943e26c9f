"""Feature extractors: networks that map images to the features that metrics compare."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from gan_cli.metrics.fidelity import FeatureExtractorBase


class Network(FeatureExtractorBase):
    """What torch-fidelity asks of a network besides its outputs, `features` and `logits`."""

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "features", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return True

    @staticmethod
    def get_dummy_input_for_compile() -> torch.Tensor:
        return torch.zeros(1, 3, 32, 32, dtype=torch.uint8)


@dataclass(frozen=True)
class LoadedExtractor:
    """A frozen network with checked weights.

    `network` maps bytes [batch, `channels`, height, width] to (features, logits). `suffix` ends the metrics' names:
    only the standard Inception weights have none. Features are computed on `device`. The logits of a network that
    classifies the data are those of its `num_classes` classes; 0 says that its classes are others. Without
    logits there is no inception score.
    """

    network: FeatureExtractorBase
    name: str
    weights_sha256: str
    suffix: str
    channels: int
    device: torch.device = torch.device("cpu")
    num_classes: int = 0
    has_logits: bool = True

    def to(self, device: torch.device) -> "LoadedExtractor":
        """Its convolutions compute with channels last, which is faster and the same but for rounding."""
        network = self.network.to(device).to(memory_format=torch.channels_last)
        return replace(self, network=network, device=device)


class Extractor(ABC):
    """Which network, and where its weights are: settings only.

    `weights_family` names the kind of the network: a part of a run may say with the same word, in its class, that it
    has trained weights of that kind (`gan_cli/config/pretrained.py`).
    """

    weights_family: ClassVar[str | None] = None

    @abstractmethod
    def load(self) -> LoadedExtractor:
        """The network, on the CPU; raises WeightsUnavailableError without weights, and ValueError for wrong ones."""
