"""The standard GAN (Goodfellow et al. 2014, arXiv:1406.2661)."""

from dataclasses import dataclass

from torch.nn.functional import softplus

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Logits, Loss


@dataclass(frozen=True, kw_only=True)
class StdGAN(Objective):
    """Binary classification of real against fake, on logits (Goodfellow et al. 2014, equation 1).

    `saturating` gives the generator the minimax loss of equation 1; otherwise it maximises log D(G(z)) (section 3).
    """

    saturating: bool

    generator_reads_real = False

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return softplus(-real_logits).mean() + softplus(fake_logits).mean()

    def generator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return -softplus(fake_logits).mean() if self.saturating else softplus(-fake_logits).mean()
