"""How generated images are scored against real ones."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor

from gan_cli.data import TrainingSet
from gan_cli.metrics.neighbours import nearest
from gan_cli.ranges import Ranged
from gan_cli.shapes import Features, Images, Labels, Logits, Refined, Stored

if TYPE_CHECKING:
    from gan_cli.metrics.frechet import Moments

Protocol = dict[str, str | int | float]
Direction = Literal["lower", "higher"]  # which values of a metric are the better ones


class WeightsUnavailableError(Exception):
    """The extractor's weights are not available on this machine; the message says where to put them."""


NUM_NEIGHBOURS = 5  # of a real image, whose distances say how dense the data are around it
Classify = Callable[[Images], Logits]


@dataclass(frozen=True)
class Subject:
    """What is scored: generated images, stored like real ones, with their labels (-1: none); or a classifier.

    `classify` maps images in [-1, 1] to class logits, differentiable; None for a discriminator without class logits.
    `seed` is that of the images, and of what else a metric draws. `refined` are the images' codes, if they are known.
    """

    images: Stored
    labels: Labels
    classify: Classify | None = None
    seed: int = 0
    refined: Refined | None = None


class Scorer(ABC):
    """Metrics with the real images they compare with; only the scorer knows what each metric means.

    `leading` is the metric that selects the best checkpoint; `headlines` are those that tables and pictures show in
    detail, the leading one first; `directions` says which values are better, except for standard deviations.
    """

    reads_images: ClassVar[bool] = True  # False: no images are generated for it
    weights_families: Collection[str] = ()  # of the networks that score

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
    def score(self, subject: Subject) -> dict[str, float]:
        """Every metric, the leading one first."""

    def nearest(self, subject: Subject) -> "NearestImages | None":
        """Generated images beside their nearest training images; None where nothing measures how near they are."""
        return None

    def confusion(self, subject: Subject) -> Tensor | None:
        """How many images of each class were taken for each class, [true, predicted]; None if none are classified."""
        return None

    @abstractmethod
    def floor(self) -> dict[str, float]:
        """The same metrics on two random halves of the real images, one scored against the other.

        Tables and pictures show it as "real against real". Empty for metrics that compare no images.
        """


class Metrics(Ranged, ABC):
    """Which metrics, and how: settings only."""

    reads_images: ClassVar[bool] = True  # as its scorer's

    @property
    def reads_held_out(self) -> bool:
        """Whether `against` needs the training set's held-out images."""
        return False

    @property
    def compares_held_out(self) -> bool:
        """Whether `against` reads held-out images of a data set that holds some out, and does without elsewhere."""
        return False

    @abstractmethod
    def against(self, training_set: TrainingSet, num_fake: int) -> Scorer:
        """The scorer for `num_fake` generated images. The real ones have labels only if those will have some, too.

        Raises WeightsUnavailableError without the extractor's weights, ValueError for too few images."""


@dataclass(frozen=True)
class Sample:
    """Real or generated images with labels (-1: none), and what the extractor makes of them, on the CPU.

    `rows` chooses among the `stored` images, which may be a file larger than memory; None means all of them. Real
    images may have others beside them that were held out of training.
    """

    stored: Stored
    features: Features
    logits: Features
    labels: Labels
    rows: Tensor | None = None
    held_out: "Sample | None" = None
    seed: int = 0  # of what a metric draws
    refined: Refined | None = None  # the codes of generated images

    @cached_property
    def moments(self) -> "Moments":
        """The mean and covariance of the features."""
        from gan_cli.metrics.frechet import Moments  # here: metrics of toy points do without torch-fidelity

        return Moments(self.features)

    @cached_property
    def neighbour_distances(self) -> Tensor:
        """From each image to its nearest others, nearest first: [images, 5]."""
        return nearest(self.features, self.features, NUM_NEIGHBOURS + 1)[0][:, 1:]

    @property
    def images(self) -> Stored:
        """As bytes, [images, channels, height, width]."""
        return (self.stored if self.rows is None else self.stored[self.rows.to(self.stored.device)]).cpu()


@dataclass(frozen=True)
class NearestImages:
    """Generated images [images, ...], each with its nearest training images [images, neighbours, ...], nearest first.

    The `first` ones that were made, and among more of them the `closest` to a training image.
    """

    first: tuple[Stored, Tensor]
    closest: tuple[Stored, Tensor]


class Metric(Ranged, ABC):
    """One number about generated images, beside those that a data set's metrics have themselves.

    `key` names it in records and tables, `better` says which values are better. Its settings are in the protocol.
    """

    key: ClassVar[str]
    better: ClassVar[Direction]

    @abstractmethod
    def measure(self, fake: Sample, real: Sample) -> float: ...
