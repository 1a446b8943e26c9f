"""Convolutions, rectifiers and mean pooling whose gradients are cheap to differentiate again.

The penalty of an input gradient needs the derivative of a derivative. PyTorch computes that of a kernel's gradient by
a convolution whose kernel is as large as the images, and passes blocks of zeros back through the whole network, because
the slope of a rectifier does not depend on its input. Here the first is the call that a plain backward pass makes, and
what does not depend on an input has no gradient with respect to it. The values are the same.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.overrides import TorchFunctionMode

aten = torch.ops.aten


class CheapSecondDerivatives(TorchFunctionMode):
    """Inside, these functions are replaced, in every network that calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.reaches_weights = True

    @contextmanager
    def of_inputs(self) -> Iterator[None]:
        """Inside, a gradient that can be differentiated again is only of inputs: that of weights is left out."""
        self.reaches_weights = False
        try:
            yield
        finally:
            self.reaches_weights = True

    def __torch_function__(
        self, function: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        replace = REPLACED.get(function)
        replaced = None if replace is None else replace(self, *args, **given)
        return function(*args, **given) if replaced is None else replaced


def conv2d(
    mode: CheapSecondDerivatives,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    if input.ndim != 4 or isinstance(padding, str):
        return None
    geometry = (pair(stride), pair(padding), pair(dilation), False, [0, 0], groups)
    return made(Convolution, input, weight, bias, geometry, mode)


def relu(mode: CheapSecondDerivatives, input: Tensor, inplace: bool = False) -> Tensor | None:
    return None if inplace else made(Rectifier, input, 0.0)


def leaky_relu(
    mode: CheapSecondDerivatives, input: Tensor, negative_slope: float = 0.01, inplace: bool = False
) -> Tensor | None:
    return None if inplace or negative_slope < 0 else made(Rectifier, input, float(negative_slope))


def avg_pool2d(
    mode: CheapSecondDerivatives,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    sizes = (pair(kernel_size), pair(kernel_size if stride is None else stride), pair(padding))
    return made(MeanPool, input, (*sizes, ceil_mode, count_include_pad, divisor_override))


REPLACED: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    torch.conv2d: conv2d,
    torch.relu: relu,
    functional.relu: relu,
    functional.leaky_relu: leaky_relu,
    functional.avg_pool2d: avg_pool2d,
}


def made(function: type[Function], *arguments: Any) -> Tensor:
    output: Tensor = function.apply(*arguments)
    return output


def pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


Geometry = tuple[list[int], list[int], list[int], bool, list[int], int]  # as aten.convolution takes it, after the bias


class Convolution(Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        kernel: Tensor,
        bias: Tensor | None,
        geometry: Geometry,
        mode: CheapSecondDerivatives | None,
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(images, kernel)
        ctx.geometry, ctx.mode = geometry, mode
        output: Tensor = aten.convolution(images, kernel, bias, *geometry)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return (None,) * 5
        images, kernel = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if not torch.is_grad_enabled():  # one call for all three shares its work
            sizes = list(kernel.shape[:1])
            return *aten.convolution_backward(gradient, images, kernel, sizes, *ctx.geometry, wanted), None, None
        weights = ctx.mode is None or ctx.mode.reaches_weights
        return (
            made(InputGradient, gradient, kernel, images, ctx.geometry) if wanted[0] else None,
            made(KernelGradient, gradient, images, kernel, ctx.geometry) if wanted[1] and weights else None,
            gradient.sum((0, 2, 3)) if wanted[2] and weights else None,
            None,
            None,
        )


class InputGradient(Function):
    """The gradient of a convolution with respect to its images, which it reads for their shape."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, kernel: Tensor, images: Tensor, geometry: Geometry) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(gradient, kernel)
        ctx.geometry = geometry
        wanted = (True, False, False)
        output: Tensor = aten.convolution_backward(gradient, images, kernel, None, *geometry, wanted)[0]
        return output

    @staticmethod
    def backward(ctx: Any, second: Tensor | None) -> tuple[Tensor | None, ...]:
        if second is None:
            return (None,) * 4
        gradient, kernel = ctx.saved_tensors
        return (
            made(Convolution, second, kernel, None, ctx.geometry, None) if ctx.needs_input_grad[0] else None,
            made(KernelGradient, gradient, second, kernel, ctx.geometry) if ctx.needs_input_grad[1] else None,
            None,
            None,
        )


class KernelGradient(Function):
    """The gradient of a convolution with respect to its kernel, which it reads for its shape."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, images: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(gradient, images)
        ctx.geometry = geometry
        wanted = (False, True, False)
        output: Tensor = aten.convolution_backward(gradient, images, kernel, None, *geometry, wanted)[1]
        return output

    @staticmethod
    def backward(ctx: Any, second: Tensor | None) -> tuple[Tensor | None, ...]:
        if second is None:
            return (None,) * 4
        gradient, images = ctx.saved_tensors
        return (
            made(Convolution, images, second, None, ctx.geometry, None) if ctx.needs_input_grad[0] else None,
            made(InputGradient, gradient, second, images, ctx.geometry) if ctx.needs_input_grad[1] else None,
            None,
            None,
        )


class Rectifier(Function):
    """ReLU or leaky ReLU: `slope` below zero."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, slope: float) -> Tensor:
        ctx.set_materialize_grads(False)
        outputs = functional.leaky_relu(inputs, slope) if slope else inputs.relu()
        ctx.save_for_backward(outputs)
        ctx.slope = slope
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        return None if gradient is None else made(Slope, gradient, *ctx.saved_tensors, ctx.slope), None


class Slope(Function):
    """The gradient times the slope of a rectifier, which is linear in the gradient and constant in the outputs."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, outputs: Tensor, slope: float) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(outputs)
        ctx.slope = slope
        scaled: Tensor = (
            aten.leaky_relu_backward(gradient, outputs, slope, True)
            if slope
            else aten.threshold_backward(gradient, outputs, 0)
        )
        return scaled

    @staticmethod
    def backward(ctx: Any, second: Tensor | None) -> tuple[Tensor | None, None, None]:
        return None if second is None else made(Slope, second, *ctx.saved_tensors, ctx.slope), None, None


Pool = tuple[list[int], list[int], list[int], bool, bool, int | None]  # as aten.avg_pool2d takes it


class MeanPool(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, pool: Pool) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(images)
        ctx.pool = pool
        output: Tensor = aten.avg_pool2d(images, *pool)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        return None if gradient is None else made(Unpool, gradient, *ctx.saved_tensors, ctx.pool), None


class Unpool(Function):
    """The transpose of mean pooling; it reads the images for their shape."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, images: Tensor, pool: Pool) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.pool = pool
        output: Tensor = aten.avg_pool2d_backward(gradient, images, *pool)
        return output

    @staticmethod
    def backward(ctx: Any, second: Tensor | None) -> tuple[Tensor | None, None, None]:
        return None if second is None else made(MeanPool, second, ctx.pool), None, None
