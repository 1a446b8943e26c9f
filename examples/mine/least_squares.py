from dataclasses import dataclass

from gan_cli.objectives import Objective
from gan_cli.shapes import Logits, Loss


@dataclass(frozen=True, kw_only=True)
class LeastSquares(Objective):
    """Regression to 1 and 0 (Mao et al. 2017, arXiv:1611.04076)."""

    real_target: float
    generator_reads_real = False

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return ((real_logits - self.real_target) ** 2).mean() / 2 + (fake_logits**2).mean() / 2

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return ((fake_logits - self.real_target) ** 2).mean() / 2
