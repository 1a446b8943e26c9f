"""Latent consistency, zCR (Zhao et al. 2021, arXiv:2002.04724, algorithm 2): a term for each player."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt

from gan_cli.game import Game, Turn
from gan_cli.regularizers.regularizer import Regularizer, check_generates
from gan_cli.shapes import Latents, Loss


@dataclass(frozen=True, kw_only=True)
class ZCRDiscriminator(Regularizer):
    """The mean of (v(G(z)) - v(G(z + d)))^2, d ~ N(0, noise^2), with v the objective's score.

    Generated images carry no gradient. Raises ValueError unless the noise is above 0.
    """

    noise: Annotated[float, Gt(0)]

    player = "discriminator"

    def check(self, game: Game) -> None:
        check_generates(game)

    def penalty(self, game: Game, turn: Turn) -> Loss:
        with torch.no_grad():
            neighbours = game.generate(nearby(turn.latents, self.noise))
        return (game.objective.score(turn.fake_logits) - game.score(neighbours)).square().mean()


@dataclass(frozen=True, kw_only=True)
class ZCRGenerator(Regularizer):
    """Minus the mean of (G(z) - G(z + d))^2 over images and pixels, d ~ N(0, noise^2).

    It keeps the generator from ignoring its codes, which would please the discriminator's term. Raises ValueError
    unless the noise is above 0.
    """

    noise: Annotated[float, Gt(0)]

    player = "generator"

    def penalty(self, game: Game, turn: Turn) -> Loss:
        neighbours = game.generate(nearby(turn.latents, self.noise))
        return -(turn.fake.images - neighbours.images).square().mean()


def nearby(latents: Latents, noise: float) -> Latents:
    """Latents that are `noise` times N(0, I) away, with the same labels."""
    return latents.with_codes(latents.codes + noise * torch.randn_like(latents.codes))
