"""The hinge GAN (Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957)."""

from dataclasses import dataclass

from torch.nn.functional import relu

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Logits, Loss


@dataclass(frozen=True, kw_only=True)
class Hinge(Objective):
    """A margin of one on either side for the discriminator, a linear loss for the generator (Miyato, eqs. 16, 17)."""

    generator_reads_real = False

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return -fake_logits.mean()

    def undecided_score(self) -> float:
        return 0.0

    def equilibrium_loss(self) -> float:
        """Any constant output within the margins is as good as another."""
        return 2.0

    def perfect_loss(self) -> float:
        return 0.0
