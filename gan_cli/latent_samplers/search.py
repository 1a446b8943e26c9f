"""The search of AdvLatGAN (Li et al. 2022) in latent space, and latents whose images fool the discriminator better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from gan_cli.game import Game
from gan_cli.gradients import descent, onto_ball
from gan_cli.latent_samplers.latent_sampler import Refinement
from gan_cli.shapes import Codes, Examples, Latents


@dataclass(frozen=True, kw_only=True)
class Search(Refinement):
    """I-FGSM from latents of the prior: `steps` steps of `step_size`, none of them out of the prior's support.

    No coordinate goes farther than `radius` from its start (the paper's ball; None is the authors' code, which has
    none). Raises ValueError for a setting out of range, or a single step that is larger than the radius.
    """

    steps: Annotated[int, Ge(0)]
    step_size: Annotated[float, Gt(0)]
    radius: float | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius is not None and self.radius < self.step_size:
            raise ValueError(f"radius={self.radius} must be at least step_size={self.step_size}, or null for none")

    def descended(self, function: Callable[[Codes], Tensor], start: Codes) -> Codes:
        """Where the search down the sum of `function` ends."""
        project = onto_ball(start, self.radius, self.half_width)
        return descent(function, start, steps=self.steps, step_size=self.step_size, project=project, norm="sign")

    def fooling(self, game: Game, start: Latents, real: Examples | None) -> Latents:
        """Down the generator's adversarial loss (equations 5, 6); nothing but the result is left behind.

        `real` is read by objectives whose generator loss compares with real images.
        """
        with game.isolated("search"):
            loss = game.generator_loss_against(None if real is None else as_many(real, len(start)))
            return start.with_codes(self.descended(lambda codes: loss(start.with_codes(codes)), start.codes))


def as_many(real: Examples, count: int) -> Examples:
    """`count` of the images from all over the batch, some of them more than once if they are fewer."""
    return real.rows(torch.arange(count, device=real.device) * len(real) // count)
