"""Networks whose features images are compared by."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch_fidelity.feature_extractor_base import FeatureExtractorBase


@dataclass(frozen=True)
class LoadedExtractor:
    """A frozen network with its weights checked.

    `network` maps bytes [batch, `channels`, height, width] to (features, logits). `suffix` ends the metrics' names:
    only the standard Inception weights have none.
    """

    network: FeatureExtractorBase
    name: str
    weights_sha256: str
    suffix: str
    channels: int


class Extractor(ABC):
    """Which network, and where its weights are: settings only."""

    @abstractmethod
    def load(self) -> LoadedExtractor:
        """Raises WeightsUnavailableError where there are no weights, and ValueError for wrong ones."""
