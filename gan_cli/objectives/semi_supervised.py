"""The semi-supervised GAN of class logits (Salimans et al. 2016, arXiv:1606.03498, section 5)."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from gan_cli.objectives.classification import ClassLogits
from gan_cli.objectives.stdgan import StdGAN
from gan_cli.shapes import Logits, Loss, Scores

STANDARD = StdGAN(saturating=False)


@dataclass(frozen=True, kw_only=True)
class SemiSupervised(ClassLogits):
    """The discriminator's K class logits are also its logit of being real: their log-sum-exp v.

    With the logit of a class "generated" fixed at 0, the softmax over all K + 1 gives an image the probability
    sigmoid(v) of being real, and a real one the softmax over K. The losses are the standard GAN's on v, and the cross
    entropy of the labelled images. The generator's is times `generator_weight`: 0 leaves it to feature matching, as in
    the paper.
    """

    generator_weight: Annotated[float, Ge(0)]

    generator_reads_real = False

    def realness(self, logits: Logits) -> Float[Tensor, "_batch 1"]:
        return logits.logsumexp(1, keepdim=True)

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return STANDARD.discriminator_loss(self.realness(real_logits), self.realness(fake_logits))

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return self.generator_weight * STANDARD.generator_loss(None, self.realness(fake_logits))

    def score(self, logits: Logits) -> Scores:
        return self.realness(logits).squeeze(1)

    def undecided_score(self) -> float:
        return STANDARD.undecided_score()

    def equilibrium_loss(self) -> float:
        return STANDARD.equilibrium_loss()

    def perfect_loss(self) -> float:
        return STANDARD.perfect_loss()
