"""MCGAN (arXiv:2405.17191): the generator's expected score is regressed on the scores of real images."""

from dataclasses import dataclass

from gan_cli.objectives.around import Around
from gan_cli.shapes import Labels, Logits, Loss


@dataclass(frozen=True, kw_only=True)
class MCGAN(Around):
    """The generator minimises the mean of (v(x) - m)^2 over real images x, where m is the mean of v(G(z)).

    v is the score of `base`, the objective of the discriminator. The mean is inside the square, and v(x) carries no
    gradient, so the gradient is -2 (E v(x) - m) times that of m: it is 0 where both means agree, whatever the
    discriminator's slope. In a conditional game m is the mean of the class of x; real images of a class without a
    generated one do not count.
    """

    generator_reads_real = True
    compares_images = True

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        assert real_logits is not None
        real, fake = self.base.score(real_logits).detach(), self.base.score(fake_logits)
        return (real - fake.mean()).square().mean()

    def generator_loss_by_class(
        self, real_logits: Logits | None, fake_logits: Logits, real_labels: Labels, fake_labels: Labels
    ) -> Loss:
        assert real_logits is not None
        real, fake = self.base.score(real_logits).detach(), self.base.score(fake_logits)
        same = (real_labels[:, None] == fake_labels[None, :]).to(fake.dtype)
        count = same.sum(1)
        mean = same @ fake / count.clamp(min=1)
        counted = (count > 0).to(fake.dtype)
        return ((real - mean).square() * counted).sum() / counted.sum().clamp(min=1)
