"""Feature extractors: networks that map images to the features that metrics compare."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch

from gan_cli.metrics.fidelity import FeatureExtractorBase


@dataclass(frozen=True)
class LoadedExtractor:
    """A frozen network with checked weights.

    `network` maps bytes [batch, `channels`, height, width] to (features, logits). `suffix` ends the metrics' names:
    only the standard Inception weights have none. Features are computed on `device`.
    """

    network: FeatureExtractorBase
    name: str
    weights_sha256: str
    suffix: str
    channels: int
    device: torch.device = torch.device("cpu")

    def to(self, device: torch.device) -> "LoadedExtractor":
        return replace(self, network=self.network.to(device), device=device)


class Extractor(ABC):
    """Which network, and where its weights are: settings only."""

    @abstractmethod
    def load(self) -> LoadedExtractor:
        """The network, on the CPU; raises WeightsUnavailableError without weights, and ValueError for wrong ones."""
