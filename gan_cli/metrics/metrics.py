"""How generated images are scored against real ones."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

from gan_cli.data import TrainingSet
from gan_cli.ranges import Ranged
from gan_cli.shapes import Stored

Protocol = dict[str, str | int | float]
Direction = Literal["lower", "higher"]  # which values of a metric are the better ones


class WeightsUnavailableError(Exception):
    """The extractor's weights are not available on this machine; the message says where to put them."""


class Scorer(ABC):
    """Metrics with the real images they compare with; only the scorer knows what each metric means.

    `leading` is the metric that selects the best checkpoint; `headlines` are those that tables and pictures show in
    detail, the leading one first; `directions` says which values are better, except for standard deviations.
    """

    leading: str
    headlines: Sequence[str]
    directions: Mapping[str, Direction]

    @property
    def lower_is_better(self) -> bool:
        """Whether lower values of the leading metric are better."""
        return self.directions[self.leading] == "lower"

    @property
    @abstractmethod
    def protocol(self) -> Protocol:
        """The settings that a score depends on, besides the data and the generator."""

    @abstractmethod
    def score(self, fake: Stored) -> dict[str, float]:
        """Every metric of generated images, which are stored like real ones; the leading one first."""

    @abstractmethod
    def floor(self) -> dict[str, float]:
        """The same metrics on two random halves of the real images, one scored against the other.

        Tables and pictures show it as "real against real".
        """


class Metrics(Ranged, ABC):
    """Which metrics, and how: settings only."""

    @abstractmethod
    def against(self, training_set: TrainingSet, num_fake: int) -> Scorer:
        """The scorer; raises WeightsUnavailableError without the extractor's weights, ValueError for too few images."""
