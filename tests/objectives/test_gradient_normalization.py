"""Gradient normalization: its bound, its closed form for a linear critic, and both of its second derivatives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_cli.errors import UserError
from gan_cli.experiment import Experiment
from gan_cli.objectives import GradientNormalization, Hinge
from gan_cli.objectives.gradient_normalization import GradientNormalizedHead
from gan_cli.shapes import Outputs
from gan_cli.trainer import train

from ..conftest import TINY, realness

SHAPE = (6, 2, 3, 3)


class Linear(nn.Module):
    def __init__(self, slope: float) -> None:
        super().__init__()
        direction = torch.randn(SHAPE[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.direction = nn.Parameter(slope * direction / direction.norm())

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.direction).flatten(1).sum(1, keepdim=True)


def images(scale: float = 1.0) -> Tensor:
    return scale * torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def curved() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(12, 1)).double()


@pytest.mark.parametrize("slope", [1e-3, 0.5, 40.0])
def test_a_linear_critic_has_its_closed_form_whatever_its_slope(slope: float) -> None:
    unit = Linear(1.0)(images()).detach()
    found = GradientNormalizedHead(Linear(slope))(images())
    torch.testing.assert_close(found, unit / (1 + unit.abs()), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_outputs_are_inside_one(scale: float) -> None:
    network = curved()
    with torch.no_grad():
        network[3].bias.fill_(50.0 if scale == 1.0 else 0.1)  # type: ignore[index, union-attr]
    found = GradientNormalizedHead(network)(images(scale))
    assert found.abs().max() < 1
    assert torch.equal(found.sign(), network(images(scale)).sign())


def test_a_constant_of_zero_is_zero_with_a_finite_gradient() -> None:
    network = Linear(0.0)
    found = GradientNormalizedHead(network)(images())
    assert not found.any()
    found.sum().backward()
    assert network.direction.grad is not None
    assert network.direction.grad.isfinite().all()


@pytest.mark.slow
def test_its_derivatives_go_through_the_gradient_in_both_turns() -> None:
    """Of the weights, for the discriminator, and of the images, for the generator, against differences."""
    network = curved()
    head = GradientNormalizedHead(network)
    shown = images()[:2].requires_grad_()
    assert torch.autograd.gradcheck(head, shown)
    names, weights = zip(*network.named_parameters(), strict=True)

    def of_weights(*values: Tensor) -> Tensor:
        class Fixed(nn.Module):
            def forward(self, given: Tensor) -> Tensor:
                made: Tensor = torch.func.functional_call(network, dict(zip(names, values, strict=True)), (given,))
                return made

        found: Tensor = GradientNormalizedHead(Fixed())(images()[:2])
        return found

    assert torch.autograd.gradcheck(of_weights, tuple(weight.detach().requires_grad_() for weight in weights))


def test_a_pass_without_gradients_has_the_same_value_and_no_graph() -> None:
    head = GradientNormalizedHead(curved())
    with torch.no_grad():
        found = head(images())
    assert not found.requires_grad
    torch.testing.assert_close(found, head(images()).detach(), rtol=1e-12, atol=1e-15)


def test_only_the_logits_of_several_outputs_are_divided() -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor) -> Outputs:
            logits = Linear(2.0)(images)
            return Outputs(logits, class_logits=3 * logits)

    made = GradientNormalizedHead(Two())(images())
    unit = Linear(1.0)(images())
    torch.testing.assert_close(made.logits, unit / (1 + unit.abs()))
    torch.testing.assert_close(made.class_logits, 6 * unit)


def test_several_outcomes_are_refused() -> None:
    assert GradientNormalization(base=Hinge()).num_outcomes == 1
    with pytest.raises(ValueError, match="Realness reads 3 outcomes"):
        GradientNormalization(base=realness(num_outcomes=3))


def test_a_discriminator_that_mixes_images_is_refused(experiment: Callable[..., Experiment]) -> None:
    with pytest.raises(UserError, match="batch norm in the discriminator mixes images: choose another model"):
        experiment(*TINY, "objective=gradient_normalization", "model=dcgan_classic", "dataset.image_size=32")


@pytest.mark.parametrize("beside", ["regularizer=none", "regularizer=[r1,spectral_norm]"])
def test_it_trains_with_every_score_inside_one(experiment: Callable[..., Experiment], beside: str) -> None:
    tiny = experiment(*TINY, "objective=gradient_normalization", "conditioning=concat", beside)
    before = [weight.clone() for weight in tiny.game.generator.parameters()]
    for step in train(tiny):
        assert step.turn.fake_logits.abs().max() < 1
        assert all(loss.isfinite() for losses in step.losses.values() for loss in losses.values())
    assert not any(map(torch.equal, before, tiny.game.generator.parameters()))
    assert tiny.game.joins  # each image is judged alone
