"""What the players minimise, as a function of raw discriminator outputs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import nn

from gan_cli.part import Part
from gan_cli.shapes import Labels, Logits, Loss, Scores


class Objective(Part, ABC):
    """Maps raw discriminator outputs to one loss per player.

    Output activations belong here, never in the discriminator. Both losses are batch means, to be minimised.
    """

    num_outcomes: int = 1  # width of the discriminator's output that this objective reads
    generator_reads_real: bool = True  # False saves the generator's turn a pass over real images
    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")  # that are trained, in the order of their turns
    name_of_loss: ClassVar[str] = "adversarial"  # under which the generator's is recorded
    logits_are_classes: ClassVar[bool] = False  # whether there is a logit for each class of the data

    @property
    def generates(self) -> bool:
        """Whether a generator is trained; without one there are no generated images, only a supervised loss."""
        return "generator" in self.players

    @property
    def judges(self) -> bool:
        """Whether a discriminator is trained; without one no score says how real an image is."""
        return "discriminator" in self.players

    def prepare(self, image_shape: tuple[int, int, int]) -> None:
        """Once, when the experiment is built; raises ValueError for images that the objective does not fit."""

    @abstractmethod
    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss: ...

    @abstractmethod
    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        """`real_logits` is None where `generator_reads_real` is False."""

    def generator_loss_by_class(
        self, real_logits: Logits | None, fake_logits: Logits, real_labels: Labels, fake_labels: Labels
    ) -> Loss:
        """`generator_loss` in a conditional game, for objectives that compare images of one class."""
        return self.generator_loss(real_logits, fake_logits)

    def supervised_loss(self, logits: Logits, labels: Labels) -> Loss | None:
        """What the discriminator also minimises on real images with a label (-1: none); None for no such loss."""
        return None

    def score(self, logits: Logits) -> Scores:
        """The scalar that gradient penalties differentiate and reports plot."""
        return logits.squeeze(1)

    def undecided_score(self) -> float | None:
        """The best discriminator's score of an image that is as likely real as generated; a higher one says real.

        None where nothing fixes it, as where a constant that is added to all logits changes no loss.
        """
        return None

    def disagreement(self, logits: Logits, others: Logits) -> Scores:
        """How far `others` are from the predictions `logits` of the same images, 0 if not at all: what VAT smooths.

        Half the squared difference, for a critic; objectives whose outputs are probabilities use the KL divergence.
        """
        return (self.score(logits) - self.score(others)).square() / 2

    def equilibrium_loss(self) -> float | None:
        """The best discriminator's loss once generated images are distributed as real ones; None if not known.

        What a logged loss is above or below it can be compared between settings of one objective.
        """
        return None

    def perfect_loss(self) -> float | None:
        """What the discriminator's loss falls to as it tells all images apart; None if it falls without bound."""
        return None

    def facts(self) -> dict[str, float]:
        """Numbers that follow from the settings alone, for summary.json."""
        equilibrium = self.equilibrium_loss()
        return {} if equilibrium is None else {"equilibrium_loss": equilibrium}

    def head(self, discriminator: Callable[[int], nn.Module]) -> nn.Module:
        """The network that this objective reads; `discriminator` builds one with a given number of outputs.

        One that trains no discriminator has a network of its own here, without weights to train.
        """
        return discriminator(self.num_outcomes)
