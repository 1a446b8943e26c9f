"""What moves images a little so that a network errs on them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from gan_cli.gradients import Norm, descent, onto_ball
from gan_cli.ranges import Ranged
from gan_cli.shapes import Images, Labels, Logits, Scores


@dataclass(frozen=True, kw_only=True)
class Attack(Ranged, ABC):
    """An attack that knows the network and its gradients.

    `epsilon` is the largest change of a pixel, or with norm "l2" the largest Euclidean length of the change of a whole
    image. Pixels are in [-1, 1]: an epsilon for pixels in [0, 1] is half as large. Raises ValueError if it is negative.
    """

    epsilon: Annotated[float, Ge(0)]
    norm: Norm

    @property
    def name(self) -> str:
        """For keys and files, as fgsm_0.1 or pgd_l2_1."""
        return "_".join([type(self).__name__.lower(), *(["l2"] * (self.norm == "l2")), f"{self.epsilon:g}"])

    @abstractmethod
    def perturbed(self, loss: Callable[[Images], Tensor], images: Images) -> Images:
        """Images within `epsilon` of these and in their range (`within`), at which the sum of `loss` is larger.

        `loss` gives one number, or one for each image. No parameter's `.grad` is changed.
        """

    def misleading(self, classify: Callable[[Images], Logits], images: Images, labels: Labels) -> Images:
        """Images at which the cross entropy between their labels and the class logits is larger.

        The loss is the log odds against the label, of which the cross entropy is the softplus: its gradient has the
        same direction, and does not vanish where the network is sure of the label.
        """

        def against(moved: Images) -> Scores:
            logits, own = classify(moved), labels[:, None]
            others = logits.scatter(1, own, -math.inf)
            return others.logsumexp(1) - logits.gather(1, own)[:, 0]

        return self.perturbed(against, images)


def within(images: Images, epsilon: float, norm: Norm) -> Callable[[Images], Images]:
    """The projection onto images within `epsilon` of these, and of the same range.

    That is [-1, 1]; of toy points, which have no bounds, the range of all of them.
    """
    low, high = images.min().clamp(max=-1.0), images.max().clamp(min=1.0)
    near = onto_ball(images, epsilon, norm=norm)
    return lambda moved: near(moved).clamp(low, high)


def ascent(
    loss: Callable[[Images], Tensor],
    images: Images,
    *,
    epsilon: float,
    steps: int,
    step_size: float,
    norm: Norm,
    start: Images | None = None,
) -> Images:
    """`steps` steps of `step_size` up the sum of `loss`, each one projected by `within`, from the images or `start`."""
    return descent(
        lambda moved: -loss(moved),
        images if start is None else start,
        steps=steps,
        step_size=step_size,
        project=within(images, epsilon, norm),
        norm=norm,
    )
