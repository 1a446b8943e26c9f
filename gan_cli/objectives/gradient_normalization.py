"""Gradient normalization (Wu et al. 2021, arXiv:2109.02235): a discriminator whose slope is bounded by construction."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gan_cli.gradients import input_gradient, per_row
from gan_cli.networks import Outer
from gan_cli.objectives.around import Around
from gan_cli.shapes import Images, Labels, Logits, Outputs


@dataclass(frozen=True, kw_only=True)
class GradientNormalization(Around):
    """`base` on v / (|grad v| + |v|), with v the discriminator's output and its gradient at each image.

    The result is in (-1, 1), and both turns differentiate through the gradient. Raises ValueError for a base with
    several outcomes, of which there is no one gradient, or a discriminator with batch norm, which mixes images.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base.num_outcomes != 1:
            raise ValueError(
                f"base: {type(self.base).__name__} reads {self.base.num_outcomes} outcomes, and the gradient is that "
                "of one: choose another objective there"
            )

    def head(self, discriminator: Callable[[int], nn.Module]) -> nn.Module:
        network = super().head(discriminator)
        if any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in network.modules()):
            raise ValueError(
                "gradient_normalization divides by the gradient at each image, and batch norm in the discriminator "
                "mixes images: choose another model"
            )
        return GradientNormalizedHead(network)


class GradientNormalizedHead(Outer):
    """A network of one logit, divided by the sum of its gradient's length and its own size.

    Zero over zero is zero.
    """

    def forward(self, images: Images, *labels: Labels) -> Logits | Outputs:
        made: list[Logits | Outputs] = []

        def logits(shown: Tensor) -> Tensor:
            made.append(self.network(shown, *labels))
            return raw(made[-1])

        differentiable = torch.is_grad_enabled()
        slope = input_gradient(logits, images, differentiable=differentiable)
        (outputs,) = made
        value = raw(outputs) if differentiable else raw(outputs).detach()
        length = (slope.square().flatten(1).sum(1) + TINY).sqrt()  # a length of exactly zero has no gradient
        normalised = value / (per_row(length, value) + value.abs())
        return replace(outputs, logits=normalised) if isinstance(outputs, Outputs) else normalised


TINY = 1e-12


def raw(made: Logits | Outputs) -> Logits:
    return made.logits if isinstance(made, Outputs) else made
