"""Adversarial training (Goodfellow et al. 2015, arXiv:1412.6572; Kurakin et al. 2017, arXiv:1607.02533)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt

from gan_cli.attacks.attack import ascent
from gan_cli.game import Game, Turn
from gan_cli.gradients import Norm
from gan_cli.objectives.objective import Objective
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Examples, Loss


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Regularizer):
    """The discriminator's loss on images moved against it by FGSM (one step) or I-FGSM (several).

    Each of `steps` moves every pixel by `step_size`, at most `epsilon` in all ([-1, 1] a pixel: twice the value for
    [0, 1]), up the discriminator's loss; with norm "l2" these are Euclidean lengths over a whole image. `images` says
    which side is moved; where the objective has a loss on labelled images, they are moved up that one and belong to the
    real side. Added with `weight` w, it makes 1 + w times the mixture of Goodfellow et al. (section 6) with
    alpha = 1 / (1 + w). Images stay in [-1, 1]; toy points, which have no bounds, in the range of their batch.

    Raises ValueError for a step_size or epsilon that is not above 0, or unless there is a step.
    """

    epsilon: Annotated[float, Gt(0)]
    step_size: Annotated[float, Gt(0)]
    steps: Annotated[int, Ge(1)]
    norm: Norm
    images: Literal["real", "fake", "both"]

    player = "discriminator"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon < self.step_size:
            raise ValueError(f"epsilon={self.epsilon} must be at least step_size={self.step_size}")

    def penalty(self, game: Game, turn: Turn) -> Loss:
        terms = [self.adversarial(game, turn)] if game.objective.generates else []
        if self.images != "fake" and supervises(game.objective, turn):
            terms.append(self.supervised(game, turn.labelled))
        if not terms:
            raise ValueError(
                f"images={self.images}, but without a generator there are only real images: set images=real"
            )
        return sum(terms[1:], terms[0])

    def adversarial(self, game: Game, turn: Turn) -> Loss:
        loss, real, fake = game.discriminator_loss, turn.real, turn.fake
        if self.images != "fake":
            real = self.attacked(lambda moved: loss(moved, turn.fake), turn.real)
        if self.images != "real":
            fake = self.attacked(lambda moved: loss(turn.real, moved), turn.fake)
        return loss(real, fake)

    def supervised(self, game: Game, labelled: Examples) -> Loss:
        """Images without a label stay where they are, also if they share the statistics of a batch with others."""
        given = (labelled.labels >= 0)[:, None, None, None]

        def loss(shown: Examples) -> Loss:
            found = game.supervised_loss(shown.with_images(torch.where(given, shown.images, labelled.images)))
            assert found is not None
            return found

        return loss(self.attacked(loss, labelled))

    def attacked(self, loss: Callable[[Examples], Loss], shown: Examples) -> Examples:
        moved = ascent(
            lambda moved: loss(shown.with_images(moved)),
            shown.images,
            epsilon=self.epsilon,
            steps=self.steps,
            step_size=self.step_size,
            norm=self.norm,
        )
        return shown.with_images(moved)


def supervises(objective: Objective, turn: Turn) -> bool:
    """Whether the objective has a loss on labelled images; nothing is judged for it."""
    return objective.supervised_loss(turn.fake_logits[:0], turn.fake.labels[:0]) is not None
