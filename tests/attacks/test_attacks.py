"""Attacks: closed forms on a linear classifier, the ball, the range and the random start."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_cli.attacks import FGSM, IFGSM, PGD, Attack
from gan_cli.gradients import Norm

NORMS: list[Norm] = ["sign", "l2"]
IMAGES = torch.rand(6, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
LABELS = torch.tensor([0, 1, 1, 0, 1, 0])


def make(kind: type[Attack], norm: Norm, epsilon: float = 0.1) -> Attack:
    settings: dict[str, Any] = {} if kind is FGSM else {"steps": 10, "relative_step_size": 0.25}
    return kind(epsilon=epsilon, norm=norm, **settings)


def classifier(scale: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.Linear(18, 2).double()
    layer.weight.data *= scale
    return nn.Sequential(nn.Flatten(), layer)


def toward_the_other(network: nn.Module, labels: Tensor) -> Tensor:
    """The gradient of the other class' logit less that of the own: the direction in which the cross entropy rises."""
    weight = network[1].weight.detach()  # type: ignore[index]
    return (weight[1 - labels] - weight[labels]).reshape(-1, 2, 3, 3)


def length(offset: Tensor, norm: Norm) -> Tensor:
    return offset.flatten(1).norm(dim=1) if norm == "l2" else offset.abs().flatten(1).amax(1)


def closed_form(norm: Norm, epsilon: float, rising: Tensor) -> Tensor:
    return epsilon * (rising.sign() if norm == "sign" else rising / rising.flatten(1).norm(dim=1).view(-1, 1, 1, 1))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [FGSM, IFGSM])
def test_on_a_linear_classifier_the_step_is_the_closed_form(kind: type[Attack], norm: Norm) -> None:
    """The gradient of the cross entropy is the probability of the other class times the difference of the weights."""
    network = classifier()
    moved = make(kind, norm).misleading(network, IMAGES, LABELS)
    torch.testing.assert_close(moved, IMAGES + closed_form(norm, 0.1, toward_the_other(network, LABELS)))
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("norm", NORMS)
def test_few_iterated_steps_go_their_sum(norm: Norm) -> None:
    network = classifier()
    moved = IFGSM(epsilon=0.1, norm=norm, steps=3, relative_step_size=0.2).misleading(network, IMAGES, LABELS)
    torch.testing.assert_close(moved, IMAGES + closed_form(norm, 0.06, toward_the_other(network, LABELS)))


def test_a_network_that_is_sure_of_the_label_is_attacked_in_the_same_direction() -> None:
    """In float32 the probability of its label is 1, and the gradient of a float32 loss knows only the other class."""
    network = classifier(scale=1e6).float()
    images = IMAGES.float()
    labels = network(images).argmax(1)
    assert network(images).softmax(1).amax(1).eq(1).all()
    moved = make(FGSM, "sign").misleading(network, images, labels)
    torch.testing.assert_close(moved, images + 0.1 * toward_the_other(network, labels).sign())


@pytest.mark.parametrize("norm", NORMS)
def test_the_loss_of_many_classes_has_the_direction_of_the_cross_entropy(norm: Norm) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 9), nn.Tanh(), nn.Linear(9, 5)).double()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    for attack in (make(FGSM, norm), make(IFGSM, norm)):
        expected = attack.perturbed(lambda x: nn.functional.cross_entropy(network(x), labels, reduction="none"), IMAGES)
        torch.testing.assert_close(attack.misleading(network, IMAGES, labels), expected)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [FGSM, IFGSM, PGD])
def test_images_stay_in_the_ball_and_in_range(kind: type[Attack], norm: Norm) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(18, 30), nn.Tanh(), nn.Linear(30, 2)).double()
    images = (4 * IMAGES).clamp(-1, 1)
    epsilon = 0.3
    moved = make(kind, norm, epsilon).misleading(network, images, LABELS)
    reached = length(moved - images, norm)
    assert reached.max() <= epsilon + 1e-12
    assert reached.min() > 0
    assert moved.abs().max() == 1  # as far as the range goes, and no farther
    assert nn.functional.cross_entropy(network(moved), LABELS) > nn.functional.cross_entropy(network(images), LABELS)


def test_points_have_the_range_of_their_batch() -> None:
    points = 7 * IMAGES
    moved = make(FGSM, "sign", 2.0).perturbed(lambda x: x.sum(), points)
    torch.testing.assert_close(moved, (points + 2.0).clamp(max=points.max().item()))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [FGSM, IFGSM])
def test_away_from_the_range_a_step_has_exactly_its_length(kind: type[Attack], norm: Norm) -> None:
    moved = make(kind, norm, 0.2).misleading(classifier(), IMAGES, LABELS)
    torch.testing.assert_close(length(moved - IMAGES, norm), torch.full((6,), 0.2, dtype=torch.float64))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [FGSM, IFGSM, PGD])
def test_an_epsilon_of_zero_is_the_identity(kind: type[Attack], norm: Norm) -> None:
    assert torch.equal(make(kind, norm, 0.0).misleading(classifier(), IMAGES, LABELS), IMAGES)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", [FGSM, IFGSM])
def test_without_a_gradient_nothing_moves(kind: type[Attack], norm: Norm) -> None:
    assert torch.equal(make(kind, norm).perturbed(lambda x: 0 * x, IMAGES), IMAGES)
    torch.manual_seed(0)
    started = make(PGD, norm).perturbed(lambda x: 0 * x, IMAGES)
    assert started.isfinite().all()
    assert 0 < length(started - IMAGES, norm).min() <= length(started - IMAGES, norm).max() <= 0.1


UNIFORM: list[tuple[Norm, Callable[[Tensor], Tensor]]] = [
    ("sign", lambda offset: (offset[:, 0, 0, 0] + 1) / 2),
    ("l2", lambda offset: offset.flatten(1).norm(dim=1) ** 3),  # of three coordinates: the share of the volume inside
]


@pytest.mark.parametrize(("norm", "share"), UNIFORM)
def test_the_random_start_is_uniform_in_the_ball(norm: Norm, share: Callable[[Tensor], Tensor]) -> None:
    """Kolmogorov's distance of the share of the ball's volume from uniform, and no direction is preferred."""
    torch.manual_seed(0)
    center = torch.zeros(20_000, 1, 1, 3, dtype=torch.float64)
    pgd = PGD(epsilon=0.5, norm=norm, steps=1, relative_step_size=1.0)
    offset = pgd.start(center) / 0.5
    ranks = (torch.arange(20_000) + 0.5) / 20_000
    assert (share(offset).sort().values - ranks).abs().max() < 1.63 / 20_000**0.5  # the 1 % point
    assert offset.mean(0).abs().max() < 0.02
    covariance = torch.cov(offset.flatten(1).T)
    torch.testing.assert_close(covariance, covariance.trace() / 3 * torch.eye(3).double(), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FGSM(epsilon=-0.1, norm="sign"), "epsilon=-0.1 must be at least 0"),
        (lambda: IFGSM(epsilon=0.1, norm="sign", steps=0, relative_step_size=1.0), "steps=0 must be at least 1"),
        (
            lambda: PGD(epsilon=0.1, norm="l2", steps=1, relative_step_size=0.0),
            "relative_step_size=0.0 must be above 0",
        ),
    ],
)
def test_settings_out_of_range_are_named(build: Callable[[], Attack], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
