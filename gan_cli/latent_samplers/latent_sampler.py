"""Where latents come from: a prior, which each use of it may refine."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from gan_cli.game import Game
from gan_cli.objectives.objective import Objective
from gan_cli.part import Part
from gan_cli.shapes import Codes, Examples, Latents, Scores


@dataclass(frozen=True)
class Block:
    """Latents with a random stream of their own, inside which they are refined; the first `wanted` rows are needed."""

    latents: Latents
    stream: AbstractContextManager[object]
    wanted: int


class LatentSampler(Part, ABC):
    """A prior, and what each player (and the evaluation) is given in its place.

    While training, `real` is a batch of real images: as many latents are returned, on its device, with its labels.
    """

    half_width: float = math.inf  # every coordinate of a draw lies within +- this
    reads_discriminator: ClassVar[bool] = False  # whether it needs one that is trained

    @abstractmethod
    def sample(self, count: int, device: torch.device) -> Codes:
        """`count` draws from the prior, with the global random state of `device`."""

    def for_discriminator(self, game: Game, real: Examples) -> Latents:
        return Latents(self.sample(len(real), real.device), real.labels)

    def for_generator(self, game: Game, real: Examples) -> Latents:
        return Latents(self.sample(len(real), real.device), real.labels)

    def for_evaluation(self, game: Game, latents: Latents, real: Examples | None) -> Latents:
        """What is scored in place of the prior draws `latents`; `real` is a calibration batch."""
        return latents

    def for_blocks(self, game: Game, blocks: Sequence[Block], real: Examples | None) -> Iterator[Latents]:
        """`for_evaluation` of each block, at least of its wanted rows: a block does not depend on the others.

        A sampler that defines this is given several blocks of small images at once, to fill the device.
        """
        for block in blocks:
            with block.stream:
                refined = self.for_evaluation(game, block.latents, real)
            yield refined

    @property
    def joins_blocks(self) -> bool:
        return type(self).for_blocks is not LatentSampler.for_blocks

    def passes(self, count: int) -> int:
        """How many images pass through both networks to refine `count` latents, at least."""
        return 0

    def fitted(self, game: Game, real: Examples | None) -> "LatentSampler":
        """This sampler with what it has to learn once, before many calls of `for_evaluation` on the same game."""
        return self

    def reads_real(self, objective: Objective) -> bool:
        """Whether `fitted` or `for_evaluation` look at `real`; it is None where they do not."""
        return False

    @property
    def innermost(self) -> "LatentSampler":
        """The prior itself, under all refinements."""
        return self

    @property
    def refines_evaluation(self) -> bool:
        """Whether what is scored is other than prior draws."""
        return type(self).for_evaluation is not LatentSampler.for_evaluation

    def log_density(self, codes: Codes) -> Scores:
        """The prior's log density up to a constant, inside its support; raises ValueError where it is not known."""
        raise ValueError(f"{type(self).__name__} does not say how dense its draws are")

    def in_torch(self) -> str:
        """`sample` of `count` codes as an expression of plain torch, for those who have no part of this package.

        Raises ValueError for a prior that does not say it.
        """
        raise ValueError(f"{type(self).__name__} does not say what draws its codes in plain torch")

    def between(
        self, start: Codes, end: Codes, fractions: Float[Tensor, " steps"]
    ) -> Float[Tensor, "batch steps latent"]:
        """The codes at these fractions of the way from each start to its end; a straight line stays in any box."""
        return torch.lerp(start[:, None], end[:, None], fractions[None, :, None])

    def quantile(self, probabilities: Tensor) -> Tensor:
        """The inverse of one coordinate's distribution function; raises ValueError where it is not known."""
        raise ValueError(f"{type(self).__name__} does not say where the quantiles of its draws are")


@dataclass(frozen=True, kw_only=True)
class Refinement(LatentSampler):
    """A sampler on top of another one, the same as that one wherever it does not say otherwise."""

    prior: LatentSampler

    @property
    def half_width(self) -> float:  # type: ignore[override]
        return self.prior.half_width

    def sample(self, count: int, device: torch.device) -> Codes:
        return self.prior.sample(count, device)

    def for_discriminator(self, game: Game, real: Examples) -> Latents:
        return self.prior.for_discriminator(game, real)

    def for_generator(self, game: Game, real: Examples) -> Latents:
        return self.prior.for_generator(game, real)

    def for_evaluation(self, game: Game, latents: Latents, real: Examples | None) -> Latents:
        return self.prior.for_evaluation(game, latents, real)

    def passes(self, count: int) -> int:
        return self.prior.passes(count)

    def fitted(self, game: Game, real: Examples | None) -> LatentSampler:
        return replace(self, prior=self.prior.fitted(game, real))

    def reads_real(self, objective: Objective) -> bool:
        return self.prior.reads_real(objective)

    @property
    def innermost(self) -> LatentSampler:
        return self.prior.innermost

    @property
    def refines_evaluation(self) -> bool:
        return type(self).for_evaluation is not Refinement.for_evaluation or self.prior.refines_evaluation

    def log_density(self, codes: Codes) -> Scores:
        return self.prior.log_density(codes)
