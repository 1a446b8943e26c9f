"""How generated images are scored against real ones."""

from abc import ABC, abstractmethod

from gan_cli.data import TrainingSet
from gan_cli.shapes import Stored

Protocol = dict[str, str | int | float]


class WeightsUnavailableError(Exception):
    """The extractor's weights cannot be had on this machine; the message says where to put them."""


class Scorer(ABC):
    """Metrics tied to the real images they compare with.

    `leading` is the metric that picks the best checkpoint, and `lower_is_better` its direction.
    """

    leading: str
    lower_is_better: bool

    @property
    @abstractmethod
    def protocol(self) -> Protocol:
        """What a score depends on, besides the data and the generator."""

    @abstractmethod
    def score(self, fake: Stored) -> dict[str, float]:
        """Every metric of generated images, stored as the real ones are."""

    @abstractmethod
    def floor(self) -> dict[str, float]:
        """The same metrics on two random halves of the real images, one scored against the other: a scale."""


class Metrics(ABC):
    """Which metrics, and how: settings only."""

    @abstractmethod
    def against(self, table: TrainingSet, num_fake: int) -> Scorer:
        """Raises WeightsUnavailableError where an extractor has none, and ValueError for too few images."""
