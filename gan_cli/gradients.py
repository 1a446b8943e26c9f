"""Gradients with respect to inputs: the only place that calls autograd.grad."""

from collections.abc import Callable

import torch
from torch import Tensor


def input_gradient(function: Callable[[Tensor], Tensor], inputs: Tensor, *, differentiable: bool) -> Tensor:
    """The gradient of sum(function(inputs)) at `inputs`, of the same shape.

    `differentiable` keeps the graph, so that a penalty on the gradient can itself be minimised. No parameter's
    `.grad` is touched.
    """
    inputs = inputs.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(function(inputs).sum(), inputs, create_graph=differentiable)
    return gradient
