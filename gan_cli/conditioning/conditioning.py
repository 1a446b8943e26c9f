"""How the two networks take class labels: each player's way is a choice, and works with every model."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from gan_cli.ranges import Ranged

ImageShape = tuple[int, int, int]
BuildGenerator = Callable[[int], nn.Module]  # from the width of its codes
BuildDiscriminator = Callable[[ImageShape, int], nn.Module]  # from the shape of its images and its number of outputs


class GeneratorLabels(Ranged, ABC):
    """How a generator takes labels; one that does has a class attribute `conditional = True`."""

    @abstractmethod
    def wrap(self, build: BuildGenerator, latent_dim: int, num_classes: int) -> nn.Module:
        """A network of codes [batch, latent_dim] and, if it is conditional, labels [batch], made with `build`.

        Raises ValueError if the network that `build` makes cannot take labels in this way.
        """


class DiscriminatorLabels(Ranged, ABC):
    """How a discriminator takes labels, or predicts them; one that takes them has `conditional = True`."""

    @abstractmethod
    def wrap(
        self, build: BuildDiscriminator, image_shape: ImageShape, num_outcomes: int, num_classes: int
    ) -> nn.Module:
        """A network of images and, if it is conditional, labels [batch], made with `build`.

        It returns logits [batch, num_outcomes], alone or in an `Outputs` with what it predicts besides.
        Raises ValueError if the network that `build` makes cannot be used in this way.
        """


@dataclass(frozen=True, kw_only=True)
class UnlabelledGenerator(GeneratorLabels):
    """The generator as it is."""

    def wrap(self, build: BuildGenerator, latent_dim: int, num_classes: int) -> nn.Module:
        return build(latent_dim)


@dataclass(frozen=True, kw_only=True)
class UnlabelledDiscriminator(DiscriminatorLabels):
    """The discriminator as it is."""

    def wrap(
        self, build: BuildDiscriminator, image_shape: ImageShape, num_outcomes: int, num_classes: int
    ) -> nn.Module:
        return build(image_shape, num_outcomes)
