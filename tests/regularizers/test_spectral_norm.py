"""Spectral norm against singular values, against PyTorch's own, and its derivatives against automatic ones."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gan_cli.game import Game
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers import SpectralNorm
from gan_cli.regularizers.spectral_norm import Normalised, norms_of


def a_network(layout: torch.memory_format = torch.contiguous_format) -> Any:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4 * 49, 5)).double().to(memory_format=layout)


WEIGHTED = (0, 3, 5)
IMAGES = torch.randn(6, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def imposed(network: nn.Module, num_power_iterations: int = 1) -> nn.Module:
    SpectralNorm(num_power_iterations=num_power_iterations).impose(network)
    return network


def originals(network: Any) -> list[Tensor]:
    return [network[index].parametrizations.weight.original for index in WEIGHTED]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_largest_singular_value_becomes_one(layout: torch.memory_format) -> None:
    network: Any = imposed(a_network(layout), num_power_iterations=5)
    for _ in range(50):
        network(IMAGES)
    network.eval()
    for index in WEIGHTED:
        weight = network[index].weight
        matrix = (weight.transpose(0, 1) if index == 3 else weight).flatten(1)
        assert torch.linalg.matrix_norm(matrix, ord=2).item() == pytest.approx(1.0, rel=1e-6)
    assert not hasattr(network[1], "parametrizations")


def test_it_is_pytorchs_where_the_vectors_have_converged() -> None:
    """Outputs, first and second derivatives with respect to the weights."""
    ours, theirs = imposed(a_network()), a_network()
    for index in WEIGHTED:
        parametrizations.spectral_norm(theirs[index])
    for _ in range(300):
        made, expected = ours(IMAGES), theirs(IMAGES)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-10)
    for outputs, network in ((made, ours), (expected, theirs)):
        outputs.square().sum().backward(inputs=originals(network))
    for mine, other in zip(originals(ours), originals(theirs), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-10)
    second = [derivative_of_the_gradient(network) for network in (ours, theirs)]
    for mine, other in zip(*second, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-9)


def derivative_of_the_gradient(network: nn.Module) -> tuple[Tensor, ...]:
    weights = originals(network)
    gradients = torch.autograd.grad(network(IMAGES).square().sum(), weights, create_graph=True)
    return torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), weights)


def test_one_pass_is_one_power_iteration_of_every_layer() -> None:
    """Algorithm 1: left <- W right, right <- W' left, at length 1; the value is left' W right."""
    network = imposed(a_network(), num_power_iterations=1)
    with torch.no_grad():
        for norm, weight in norms_of(network):
            weight.add_(torch.randn_like(weight))  # so that the vectors have not converged
            norm.right.copy_(nn.functional.normalize(torch.randn_like(norm.right), dim=0))
    expected = []
    for norm, weight in norms_of(network):
        left = nn.functional.normalize(norm.matrix(weight) @ norm.right, dim=0)
        right = nn.functional.normalize(norm.matrix(weight).T @ left, dim=0)
        expected.append((left, right, weight / (left @ norm.matrix(weight) @ right)))
    used: list[Tensor] = []
    for index in WEIGHTED:
        network[index].register_forward_pre_hook(lambda layer, _: used.append(layer.weight))  # type: ignore[index]
    network(IMAGES)
    for (norm, _), weight, (left, right, divided) in zip(norms_of(network), used, expected, strict=True):
        torch.testing.assert_close(norm.left, left)
        torch.testing.assert_close(norm.right, right)
        torch.testing.assert_close(weight, divided)


def test_as_many_iterations_as_asked() -> None:
    once, thrice = imposed(a_network(), 1), imposed(a_network(), 3)
    with torch.no_grad():
        for network in (once, thrice):
            for norm, _ in norms_of(network):
                norm.right.copy_(torch.eye(len(norm.right), dtype=torch.float64)[0])
    thrice(IMAGES)
    for _ in range(3):
        once(IMAGES)
    for (mine, _), (other, _) in zip(norms_of(once), norms_of(thrice), strict=True):
        torch.testing.assert_close(mine.left, other.left)
        torch.testing.assert_close(mine.right, other.right)


@pytest.mark.parametrize("dim", [0, 1])
def test_a_matrix_and_its_weight_are_inverses(dim: int) -> None:
    weight = torch.randn(3, 4, 2, 5)
    norm = Normalised(weight, dim)
    assert norm.matrix(weight).shape == ((3, 40) if dim == 0 else (4, 30))
    assert torch.equal(norm.weight(norm.matrix(weight), weight), weight)


def test_passes_are_differentiated_in_any_order_and_isolated_ones_move_nothing() -> None:
    """A second pass changes the vectors before the first is differentiated; a weight outside a pass is that of now."""
    network = imposed(a_network())
    alone = copy.deepcopy(network)
    first = network(IMAGES)
    vectors = {name: value.clone() for name, value in network.named_buffers()}
    with Game(nn.Identity(), network, Wasserstein()).isolated("second"):
        network(IMAGES)
    assert all(torch.equal(value, vectors[name]) for name, value in network.named_buffers())
    network(IMAGES.flip(0))
    first.sum().backward()
    alone(IMAGES).sum().backward()
    for mine, other in zip(originals(network), originals(alone), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    assert all(norm.prepared is None for norm, _ in norms_of(network))
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 7, 8, 8))
    assert all(norm.prepared is None for norm, _ in norms_of(network))


def test_a_network_without_such_layers_is_left_as_it_is() -> None:
    network = imposed(nn.Sequential(nn.Flatten(), nn.LayerNorm(4)))
    assert network(torch.ones(2, 4)).shape == (2, 4)


def test_weights_without_a_norm_are_refused() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    nn.init.zeros_(network[1].weight)
    with pytest.raises(ValueError, match="cannot divide weights by their norm that start at 0"):
        SpectralNorm(num_power_iterations=1).impose(network)
