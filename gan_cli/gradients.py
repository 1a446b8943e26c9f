"""Gradients with respect to inputs, and steps along their sign: the only place that calls autograd.grad."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def input_gradient(function: Callable[[Tensor], Tensor], inputs: Tensor, *, differentiable: bool) -> Tensor:
    """The gradient of sum(function(inputs)) at `inputs`, of the same shape.

    `differentiable` keeps the graph, including that of `inputs`, so that a penalty on the gradient can be minimised,
    also with respect to the parameters that `inputs` was computed from. No parameter's `.grad` is changed.
    """
    if not (differentiable and inputs.requires_grad):
        inputs = inputs.detach().requires_grad_(True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(function(inputs).sum(), inputs, create_graph=differentiable)
    return gradient


def signed_descent(
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    steps: int,
    step_size: float,
    project: Callable[[Tensor], Tensor],
) -> Tensor:
    """`steps` steps of `step_size` against the sign of the gradient of sum(function), each one projected.

    The iterated fast gradient sign method (Kurakin et al. 2017, arXiv:1607.02533, section 2.2), for minimisation; with
    zero steps it returns the start.
    """
    point = start.detach()
    for _ in range(steps):
        point = project(point - step_size * input_gradient(function, point, differentiable=False).sign())
    return point


def onto_ball(center: Tensor, radius: float | None, half_width: float = math.inf) -> Callable[[Tensor], Tensor]:
    """The projection onto points with every coordinate within `radius` of `center` and within `half_width` of 0.

    A radius of None means no bound.
    """
    reach = math.inf if radius is None else radius
    return lambda point: point.clamp(center - reach, center + reach).clamp(-half_width, half_width)
