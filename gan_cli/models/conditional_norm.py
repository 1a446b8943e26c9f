"""Batch norm whose scale and shift are functions of something else: of labels, or of a part of the code."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Condition:
    """What all layers of one network read in the present pass. Empty between passes: no copy and no state has it."""

    given: Tensor | None = None


class ConditionalBatchNorm(nn.Module):
    """A batch norm whose scale and shift are those of the condition: (1 + W c) x + U c, where x is normalised."""

    def __init__(self, norm: _BatchNorm, scale: nn.Module, shift: nn.Module, condition: Condition) -> None:
        super().__init__()
        norm.affine = False
        norm.register_parameter("weight", None)
        norm.register_parameter("bias", None)
        self.norm = norm
        self.scale = scale
        self.shift = shift
        self.condition = condition

    def forward(self, inputs: Tensor) -> Tensor:
        normalised: Tensor = self.norm(inputs)
        scale, shift = (row(self.condition.given) for row in (self.scale, self.shift))  # [batch, features]
        over_pixels = (..., *[None] * (inputs.ndim - 2))
        return (1 + scale[over_pixels]) * normalised + shift[over_pixels]


class Added(nn.Module):
    """The sum of a scale, or a shift, and of one by a second condition: a linear map of both side by side."""

    def __init__(self, own: nn.Module, row: nn.Module, condition: Condition) -> None:
        super().__init__()
        self.own = own
        self.row = row
        self.condition = condition

    def forward(self, given: Tensor) -> Tensor:
        both: Tensor = self.own(given) + self.row(self.condition.given)
        return both
