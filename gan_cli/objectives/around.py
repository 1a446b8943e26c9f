"""An objective that changes one thing of another one."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Labels, Logits, Loss, Scores


@dataclass(frozen=True, kw_only=True)
class Around(Objective):
    """The same as `base` wherever it does not say otherwise.

    Raises ValueError for a base with one player, or one whose logits are classes.
    """

    base: Objective

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.base.generates and self.base.judges) or self.base.logits_are_classes:
            what = "learns classes" if self.base.logits_are_classes else "has no discriminator"
            raise ValueError(f"base: {type(self.base).__name__} {what}: choose another objective there")

    @property
    def num_outcomes(self) -> int:  # type: ignore[override]
        return self.base.num_outcomes

    @property
    def generator_reads_real(self) -> bool:  # type: ignore[override]
        return self.base.generator_reads_real

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return self.base.discriminator_loss(real_logits, fake_logits)

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return self.base.generator_loss(real_logits, fake_logits)

    def generator_loss_by_class(
        self, real_logits: Logits | None, fake_logits: Logits, real_labels: Labels, fake_labels: Labels
    ) -> Loss:
        return self.base.generator_loss_by_class(real_logits, fake_logits, real_labels, fake_labels)

    def score(self, logits: Logits) -> Scores:
        return self.base.score(logits)

    def disagreement(self, logits: Logits, others: Logits) -> Scores:
        return self.base.disagreement(logits, others)

    def equilibrium_loss(self) -> float | None:
        return self.base.equilibrium_loss()

    def perfect_loss(self) -> float | None:
        return self.base.perfect_loss()

    def facts(self) -> dict[str, float]:
        return self.base.facts()

    def head(self, discriminator: Callable[[int], nn.Module]) -> nn.Module:
        return self.base.head(discriminator)
