"""The Wasserstein GAN (Arjovsky et al. 2017, arXiv:1701.07875)."""

from dataclasses import dataclass

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Logits, Loss


@dataclass(frozen=True, kw_only=True)
class Wasserstein(Objective):
    """The difference of mean critic values (equation 2); a regularizer has to keep the critic Lipschitz."""

    generator_reads_real = False

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return fake_logits.mean() - real_logits.mean()

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return -fake_logits.mean()

    def equilibrium_loss(self) -> float:
        return 0.0
