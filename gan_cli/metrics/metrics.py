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
    """The extractor's weights cannot be had on this machine; the message says where to put them."""


class Scorer(ABC):
    """Metrics tied to the real images they compare with, and what each of them means: nobody else knows by its name.

    `leading` is the metric that picks the best checkpoint; `headlines` those that tables and pictures tell most of, the
    leading one first; `directions` says of every metric that is no standard deviation which way it is better.
    """

    leading: str
    headlines: Sequence[str]
    directions: Mapping[str, Direction]

    @property
    def lower_is_better(self) -> bool:
        """Of the leading metric."""
        return self.directions[self.leading] == "lower"

    @property
    @abstractmethod
    def protocol(self) -> Protocol:
        """What a score depends on, besides the data and the generator."""

    @abstractmethod
    def score(self, fake: Stored) -> dict[str, float]:
        """Every metric of generated images, stored as the real ones are; the leading one first."""

    @abstractmethod
    def floor(self) -> dict[str, float]:
        """The same metrics on two random halves of the real images, one scored against the other: a scale.

        A person reads it as real against real.
        """


class Metrics(Ranged, ABC):
    """Which metrics, and how: settings only."""

    @abstractmethod
    def against(self, training_set: TrainingSet, num_fake: int) -> Scorer:
        """Raises WeightsUnavailableError where an extractor has none, and ValueError for too few images."""
