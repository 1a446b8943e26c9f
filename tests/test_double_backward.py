"""Replaced functions against PyTorch's own: values, first, second and third derivatives, in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from gan_cli.double_backward import REPLACED, CheapSecondDerivatives
from gan_cli.gradients import input_gradient
from gan_cli.models import dcgan, resnet

torch_ = torch.Generator()
IMAGES = torch.randn(2, 4, 6, 6, dtype=torch.float64, generator=torch_.manual_seed(0))
KERNEL = torch.randn(6, 2, 3, 3, dtype=torch.float64, generator=torch_.manual_seed(1))
BIAS = torch.randn(6, dtype=torch.float64, generator=torch_.manual_seed(2))

Cases = dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]]
CASES: Cases = {
    "convolution": (lambda x, w, b: functional.conv2d(x, w, b, 1, 1, 1, 2), (IMAGES, KERNEL, BIAS)),
    "of stride 2": (lambda x, w: functional.conv2d(x, w, stride=(2, 1), padding=(0, 1), groups=2), (IMAGES, KERNEL)),
    "dilated": (lambda x, w, b: functional.conv2d(x, w, b, dilation=2, groups=2), (IMAGES, KERNEL, BIAS)),
    "relu": (functional.relu, (IMAGES,)),
    "torch.relu": (torch.relu, (IMAGES,)),
    "leaky relu": (lambda x: functional.leaky_relu(x, 0.2), (IMAGES,)),
    "leaky relu by name": (lambda x: functional.leaky_relu(x, negative_slope=0.1), (IMAGES,)),
    "mean pooling": (lambda x: functional.avg_pool2d(x, 2), (IMAGES,)),
    "padded pooling": (
        lambda x: functional.avg_pool2d(x, (3, 2), stride=2, padding=1, count_include_pad=False),
        (IMAGES,),
    ),
    "sum pooling": (lambda x: functional.avg_pool2d(x, 2, 1, divisor_override=1), (IMAGES,)),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_are_those_of_the_plain_function(case: str) -> None:
    """A cubic function of the outputs has a third derivative."""
    function, given = CASES[case]
    inputs = tuple(value.clone().requires_grad_() for value in given)

    def derivatives(replaced: bool) -> list[Tensor]:
        if replaced:
            with CheapSecondDerivatives():
                outputs = function(*inputs)
        else:
            outputs = function(*inputs)
        found, value = [outputs], outputs.pow(3).sum()
        for _ in range(3):
            gradients = torch.autograd.grad(value, inputs, create_graph=True, materialize_grads=True)
            found += gradients
            value = sum((gradient.pow(2).sum() for gradient in gradients), torch.zeros(()))
        return found

    for mine, plain in zip(derivatives(True), derivatives(False), strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_derivatives_are_those_of_finite_differences(case: str) -> None:
    function, given = CASES[case]

    def replaced(*inputs: Tensor) -> Tensor:
        with CheapSecondDerivatives():
            return function(*inputs)

    inputs = tuple(value.clone().requires_grad_() for value in given)
    assert gradcheck(replaced, inputs, fast_mode=True)
    assert gradgradcheck(replaced, inputs, fast_mode=True)


def test_the_cases_are_of_every_replaced_function(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = set(REPLACED)
    for function, given in CASES.values():
        for replaced in list(missing):
            monkeypatch.setitem(REPLACED, replaced, lambda *_, **__: missing.discard(replaced))  # noqa: B023
            with CheapSecondDerivatives():
                function(*given)
            monkeypatch.undo()
    assert missing == set()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: functional.relu(x.clone(), inplace=True),
        lambda x: functional.leaky_relu(x.clone(), 0.2, inplace=True),
        lambda x: functional.leaky_relu(x, -0.5),
        lambda x: functional.conv2d(x, KERNEL, padding="same", groups=2),
        lambda x: functional.conv2d(x[0], KERNEL, groups=2),
    ],
)
def test_what_it_does_not_know_is_pytorchs(function: Callable[[Tensor], Tensor]) -> None:
    images = IMAGES.clone().requires_grad_()
    with CheapSecondDerivatives():
        outputs = function(images)
    assert torch.equal(outputs, function(images))
    assert gradgradcheck(lambda x: input_gradient(function, x, differentiable=True), (images,), fast_mode=True)


NETWORKS: dict[str, Any] = {
    "dcgan": lambda: dcgan.Discriminator(width=4, image_shape=(1, 16, 16), num_outcomes=1),
    "resnet": lambda: resnet.Discriminator(form="wgan_gp", width=4, image_shape=(3, 32, 32), num_outcomes=1),
    "smooth": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Conv2d(4, 4, 3, stride=2), nn.Flatten(), nn.LazyLinear(1)
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_penalty_has_the_gradient_of_the_plain_double_backward(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().double()
    images = torch.randn(
        3, 1 if name == "dcgan" else 3, *([16] * 2 if name == "dcgan" else [32] * 2), dtype=torch.float64
    )
    network(images)
    found = []
    for plain in (False, True):
        if plain:
            shown = images.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(network(shown).sum(), shown, create_graph=True)
        else:
            gradient = input_gradient(network, images, differentiable=True)
        penalty = gradient.square().flatten(1).sum(1).mean()
        found.append(torch.autograd.grad(penalty, list(network.parameters()), materialize_grads=True))
    assert sum(bool(gradient.any()) for gradient in found[1]) >= 2
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_no_zeros_are_passed_back_through_a_piecewise_linear_network() -> None:
    """The penalty does not depend on biases there, which plain double backward learns by computing zeros."""
    network = NETWORKS["resnet"]()
    gradient = input_gradient(network, torch.randn(2, 3, 32, 32), differentiable=True)
    biases = [value for name, value in network.named_parameters() if name.endswith("bias")]
    assert torch.autograd.grad(gradient.sum(), biases, allow_unused=True) == (None,) * len(biases)
