"""Gradients with respect to inputs, and steps along them in a ball: the only place that calls autograd.grad."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from gan_cli.double_backward import CheapSecondDerivatives

Norm = Literal["sign", "l2"]  # steps along the gradient's sign, in a cube; or along the gradient, in a ball


def input_gradient(function: Callable[[Tensor], Tensor], inputs: Tensor, *, differentiable: bool) -> Tensor:
    """The gradient of sum(function(inputs)) at `inputs`, of the same shape.

    `differentiable` keeps the graph, including that of `inputs`, so that a penalty on the gradient can be minimised,
    also with respect to the parameters that `inputs` was computed from. No parameter's `.grad` is changed.
    """
    if not (differentiable and inputs.requires_grad):
        inputs = inputs.detach().requires_grad_(True)
    with torch.enable_grad():
        if not differentiable:
            (gradient,) = torch.autograd.grad(function(inputs).sum(), inputs)
            return gradient
        with CheapSecondDerivatives() as mode:
            total = function(inputs).sum()
        with mode.of_inputs():
            (gradient,) = torch.autograd.grad(total, inputs, create_graph=True)
    return gradient


def descent(
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    steps: int,
    step_size: float,
    project: Callable[[Tensor], Tensor],
    norm: Norm,
) -> Tensor:
    """`steps` steps of `step_size` against the gradient of sum(function), each one projected.

    With norm "sign" every coordinate moves by `step_size` against its sign: the iterated fast gradient sign method
    (Kurakin et al. 2017, arXiv:1607.02533, section 2.2), for minimisation. With "l2" each row moves by that Euclidean
    length. With zero steps it returns the start.
    """
    directions: dict[Norm, Callable[[Tensor], Tensor]] = {"sign": torch.sign, "l2": normalised}
    point = start.detach()
    for _ in range(steps):
        point = project(point - step_size * directions[norm](input_gradient(function, point, differentiable=False)))
    return point


def onto_ball(
    center: Tensor, radius: float | None, half_width: float = math.inf, norm: Norm = "sign"
) -> Callable[[Tensor], Tensor]:
    """The projection onto points within `radius` of `center`, and then onto those within `half_width` of 0.

    A distance is that of the coordinate which differs most, or with norm "l2" the Euclidean one of each row. The result
    is within both bounds if `center` is within `half_width`. A radius of None means no bound.
    """
    reach = math.inf if radius is None else radius
    if norm == "l2":
        return lambda point: (center + shortened(point - center, reach)).clamp(-half_width, half_width)
    return lambda point: point.clamp(center - reach, center + reach).clamp(-half_width, half_width)


def normalised(vectors: Tensor) -> Tensor:
    """Each row at Euclidean length 1, scaled by its largest element first so that none underflows; zero stays zero."""
    largest = vectors.abs().flatten(1).amax(1).clamp(min=torch.finfo(vectors.dtype).tiny)
    scaled = vectors / per_row(largest, vectors)
    return scaled / per_row(scaled.flatten(1).norm(dim=1).clamp(min=1), vectors)


def shortened(vectors: Tensor, length: float) -> Tensor:
    """Each row that is longer than `length` at that length, the others as they are."""
    lengths = vectors.flatten(1).norm(dim=1).clamp(min=torch.finfo(vectors.dtype).tiny)
    return vectors * per_row((length / lengths).clamp(max=1), vectors)


def per_row(values: Tensor, rows: Tensor) -> Tensor:
    """One value for each row, in a shape that multiplies the rows."""
    return values[(..., *[None] * (rows.ndim - 1))]
