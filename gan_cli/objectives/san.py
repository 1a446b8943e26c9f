"""SAN (Takida et al. 2024, arXiv:2301.12811): the last layer looks in the direction in which real and fake differ."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from gan_cli.networks import innermost, is_conditional, last_linear
from gan_cli.objectives.around import Around
from gan_cli.shapes import Features, Labels, Logits, Loss, Scores


@dataclass(frozen=True, kw_only=True)
class SAN(Around):
    """`base` on s <w, h + b>, h being what the last linear layer reads and |w| = 1.

    The base's loss of the discriminator trains h, b and s, not w. The direction w maximises s <w, E h_r - E h_f> in a
    term of its own, which trains nothing else. The generator minimises the base's loss.

    Raises ValueError for a base with several outcomes, a discriminator whose last layer is not linear with one output,
    or one that takes labels or makes class logits of its logits.
    """

    num_outcomes = 2  # s <w, h + b>, and the same for w alone

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base.num_outcomes != 1:
            raise ValueError(
                f"base: {type(self.base).__name__} reads {self.base.num_outcomes} outcomes, and there is one "
                "direction: choose another objective there"
            )

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        of_direction = fake_logits[:, 1].mean() - real_logits[:, 1].mean()
        return self.base.discriminator_loss(real_logits[:, :1], fake_logits[:, :1]) + of_direction

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return self.base.generator_loss(None if real_logits is None else real_logits[:, :1], fake_logits[:, :1])

    def generator_loss_by_class(
        self, real_logits: Logits | None, fake_logits: Logits, real_labels: Labels, fake_labels: Labels
    ) -> Loss:
        real = None if real_logits is None else real_logits[:, :1]
        return self.base.generator_loss_by_class(real, fake_logits[:, :1], real_labels, fake_labels)

    def score(self, logits: Logits) -> Scores:
        return self.base.score(logits[:, :1])

    def disagreement(self, logits: Logits, others: Logits) -> Scores:
        return self.base.disagreement(logits[:, :1], others[:, :1])

    def perfect_loss(self) -> None:
        """The term of the direction falls without bound."""

    def head(self, discriminator: Callable[[int], nn.Module]) -> nn.Module:
        network = self.base.head(discriminator)
        if is_conditional(network) or getattr(network, "classes_from_logits", False):
            raise ValueError(
                "SAN's logit is of the last layer alone, and labels change it: set discriminator_labels=none"
            )
        inner = innermost(network)
        path, layer = last_linear(inner)
        if layer.out_features != 1:
            raise ValueError(
                f"the last nn.Linear of {type(inner).__name__} has {layer.out_features} outputs, and SAN replaces one "
                "that makes the logit: choose another model"
            )
        parent, _, name = path.rpartition(".")
        setattr(inner.get_submodule(parent), name, Direction(layer))
        return network


class Direction(nn.Linear):
    """Features to two outputs of the same value, s <w, h + b>: one trains h, b and s, the other only w.

    It begins as the direction and the length of `layer`, without its bias.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, 1, bias=False)
        with torch.no_grad():
            length = layer.weight.norm()
            self.weight.copy_(layer.weight / length)
        self.scale = nn.Parameter(length)
        self.shift = nn.Parameter(torch.zeros(layer.in_features))

    def forward(self, features: Features) -> Logits:
        direction, moved = normalize(self.weight, dim=1), features + self.shift
        judged: Tensor = self.scale * linear(moved, direction.detach())
        return torch.cat([judged, self.scale.detach() * linear(moved.detach(), direction)], 1)
