"""The iterated fast gradient sign method, or basic iterative method (Kurakin et al. 2017, arXiv:1607.02533)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt
from torch import Tensor

from gan_cli.attacks.attack import Attack, ascent
from gan_cli.shapes import Images


@dataclass(frozen=True, kw_only=True)
class IFGSM(Attack):
    """`steps` steps up the loss, each of `relative_step_size` times `epsilon` and projected (section 2.2).

    Raises ValueError for a relative_step_size that is not above 0, or unless there is a step.
    """

    steps: Annotated[int, Ge(1)]
    relative_step_size: Annotated[float, Gt(0)]

    def perturbed(self, loss: Callable[[Images], Tensor], images: Images) -> Images:
        return ascent(
            loss,
            images,
            epsilon=self.epsilon,
            steps=self.steps,
            step_size=self.relative_step_size * self.epsilon,
            norm=self.norm,
            start=self.start(images),
        )

    def start(self, images: Images) -> Images:
        """Where the steps begin."""
        return images
