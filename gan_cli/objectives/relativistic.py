"""Relativistic GANs (Jolicoeur-Martineau 2018, arXiv:1807.00734): is this image more real than those?"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import relu, softplus

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Logits, Loss

# What an advantage of the side that is meant to win costs.
COSTS: dict[str, Callable[[Tensor], Tensor]] = {
    "standard": lambda advantage: softplus(-advantage),
    "least_squares": lambda advantage: (advantage - 1).square(),
    "hinge": lambda advantage: relu(1 - advantage),
}
NO_ADVANTAGE = {"standard": math.log(2), "least_squares": 1.0, "hinge": 1.0}


@dataclass(frozen=True, kw_only=True)
class Relativistic(Objective):
    """Compares raw outputs of real and fake images; the generator's loss is the discriminator's with sides swapped.

    `paired` compares each real image with the fake one of the same row; `average` each image with the mean of the other
    side, through which gradients flow too.
    Raises ValueError where pairs are asked for and the numbers of real and fake images differ.
    """

    pairing: Literal["paired", "average"]
    loss: Literal["standard", "least_squares", "hinge"]

    @property
    def compares_images(self) -> bool:  # type: ignore[override]
        return self.pairing == "average"

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return self.cost_of(winner=real_logits, loser=fake_logits)

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        assert real_logits is not None
        return self.cost_of(winner=fake_logits, loser=real_logits)

    def cost_of(self, *, winner: Logits, loser: Logits) -> Loss:
        cost = COSTS[self.loss]
        if self.pairing == "average":
            return cost(winner - loser.mean()).mean() + cost(winner.mean() - loser).mean()
        if len(winner) != len(loser):
            raise ValueError(f"pairs need as many real images as fake ones, not {len(winner)} and {len(loser)}")
        return cost(winner - loser).mean()

    def equilibrium_loss(self) -> float:
        """No image has an advantage over another; the average form counts both sides."""
        return NO_ADVANTAGE[self.loss] * (2 if self.pairing == "average" else 1)

    def perfect_loss(self) -> float:
        return 0.0
