"""The search of AdvLatGAN (Li et al. 2022) in latent space, and latents whose images fool the discriminator better."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_cli.game import Game
from gan_cli.gradients import onto_ball, signed_descent
from gan_cli.isolation import isolated
from gan_cli.latent_samplers.latent_sampler import Refinement
from gan_cli.shapes import Images, Latents, Loss


@dataclass(frozen=True, kw_only=True)
class Search(Refinement):
    """I-FGSM from latents of the prior: `steps` steps of `step_size`, none of them out of the prior's support.

    No coordinate goes farther than `radius` from its start (the paper's ball; None is the authors' code, which has
    none). Raises ValueError for a setting out of range, or a single step that is larger than the radius.
    """

    steps: int
    step_size: float
    radius: float | None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps={self.steps} must be at least 0")
        if self.step_size <= 0:
            raise ValueError(f"step_size={self.step_size} must be above 0")
        if self.radius is not None and self.radius < self.step_size:
            raise ValueError(f"radius={self.radius} must be at least step_size={self.step_size}, or null for none")

    def descended(self, function: Callable[[Tensor], Tensor], start: Latents) -> Latents:
        """Where the search down the sum of `function` ends."""
        project = onto_ball(start, self.radius, self.half_width)
        return signed_descent(function, start, steps=self.steps, step_size=self.step_size, project=project)

    def fooling(self, game: Game, start: Latents, real: Images) -> Latents:
        """Down the generator's adversarial loss (equations 5, 6); nothing but the result is left behind.

        `real` is read by objectives whose generator loss compares with real images.
        """
        with isolated("search", game.generator, game.discriminator):
            loss = game.generator_loss_against(as_many(real, len(start)))

            def fooled(latents: Latents) -> Loss:
                return loss(game.generator(latents))

            return self.descended(fooled, start)


def as_many(real: Tensor, count: int) -> Tensor:
    """`count` of the images from all over the batch, some of them more than once if they are fewer; none of none."""
    return real[torch.arange(count) * len(real) // count] if len(real) else real
