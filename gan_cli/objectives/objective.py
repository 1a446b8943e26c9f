"""What the two players minimise, as a function of raw discriminator outputs."""

from abc import ABC, abstractmethod

from gan_cli.shapes import Logits, Loss, Scores


class Objective(ABC):
    """Maps raw discriminator outputs to one loss per player.

    Output activations belong here, never in the discriminator. Both losses are batch means, to be minimised.
    """

    num_outcomes: int = 1  # width of the discriminator's output that this objective reads
    generator_reads_real: bool = True  # False saves the generator's turn a pass over real images

    @abstractmethod
    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss: ...

    @abstractmethod
    def generator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        """`real_logits` is empty, [0, outcomes], where `generator_reads_real` is False."""

    def score(self, logits: Logits) -> Scores:
        """The scalar that gradient penalties differentiate and reports plot."""
        return logits.squeeze(1)
