"""The least squares GAN (Mao et al. 2017, arXiv:1611.04076)."""

from dataclasses import dataclass

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Logits, Loss


@dataclass(frozen=True, kw_only=True)
class LSGAN(Objective):
    """Regression of raw outputs to a target for each side, a, b and c in the paper (equation 2).

    Where b - c = 1 and b - a = 2 the generator minimises a Pearson divergence (section 3.2): -1, 1, 0.
    Raises ValueError where both sides of the discriminator have the same target.
    """

    fake_target: float
    real_target: float
    generator_target: float

    generator_reads_real = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fake_target == self.real_target:
            raise ValueError(f"fake_target and real_target must differ, not both be {self.real_target}")

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        toward_real = (real_logits - self.real_target).square().mean() / 2
        toward_fake = (fake_logits - self.fake_target).square().mean() / 2
        return toward_real + toward_fake

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return (fake_logits - self.generator_target).square().mean() / 2

    def undecided_score(self) -> float | None:
        """Half way between the targets, if that of real images is the higher one."""
        return (self.real_target + self.fake_target) / 2 if self.real_target > self.fake_target else None

    def equilibrium_loss(self) -> float:
        """The best prediction is half way between the targets."""
        return (self.real_target - self.fake_target) ** 2 / 4

    def perfect_loss(self) -> float:
        return 0.0
