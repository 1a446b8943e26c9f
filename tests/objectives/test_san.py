"""SAN's last layer and losses, against their definition, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gan_cli.errors import UserError
from gan_cli.experiment import Experiment
from gan_cli.objectives import SAN, Hinge, StdGAN
from gan_cli.objectives.san import Direction
from gan_cli.regularizers import UnitDirection
from gan_cli.trainer import train

from ..conftest import TINY, realness

REAL, FAKE = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def direction() -> Direction:
    torch.manual_seed(1)
    layer = Direction(nn.Linear(3, 1).double()).double()
    with torch.no_grad():
        layer.shift.copy_(torch.tensor([0.3, -0.2, 0.1]))
        layer.scale.fill_(1.7)
    return layer


def features() -> tuple[Tensor, Tensor]:
    return REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()


def test_it_begins_as_the_layer_that_it_replaces() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(3, 1, bias=False).double()
    both = Direction(linear).double()(REAL)
    torch.testing.assert_close(both, linear(REAL).expand(5, 2))


def test_the_base_trains_features_shift_and_scale_and_the_direction_has_its_own_term() -> None:
    """By hand: v = s <w, h + b> in the base's loss, with w constant, and -s <w, E h_r - E h_f> for w alone."""
    base, layer, (real, fake) = StdGAN(saturating=False), direction(), features()
    SAN(base=base).discriminator_loss(layer(real), layer(fake)).backward()
    unit = normalize(layer.weight.detach(), dim=1).squeeze(0)
    h_r, h_f = features()
    shift, scale = layer.shift.detach().clone().requires_grad_(), layer.scale.detach().clone().requires_grad_()
    v_r, v_f = (scale * ((h + shift) @ unit)[:, None] for h in (h_r, h_f))
    base.discriminator_loss(v_r, v_f).backward()
    for found, expected in ((real, h_r), (fake, h_f), (layer.shift, shift), (layer.scale, scale)):
        torch.testing.assert_close(found.grad, expected.grad)
    difference = -1.7 * (REAL.mean(0) - FAKE.mean(0))
    along_the_sphere = (difference - (difference @ unit) * unit) / layer.weight.norm().item()
    torch.testing.assert_close(layer.weight.grad, along_the_sphere[None])


def test_the_best_direction_is_that_of_the_difference_of_means() -> None:
    layer, objective = direction(), SAN(base=Hinge())
    optimizer = torch.optim.SGD([layer.weight], lr=2.0)
    for _ in range(400):
        optimizer.zero_grad()
        objective.discriminator_loss(layer(REAL), layer(FAKE)).backward()
        optimizer.step()
        UnitDirection().after_update(layer)
    best = normalize((REAL.mean(0) - FAKE.mean(0))[None], dim=1)
    torch.testing.assert_close(normalize(layer.weight.detach(), dim=1), best, rtol=1e-5, atol=1e-6)


def test_the_generator_and_the_score_are_those_of_the_base() -> None:
    base, objective, layer = StdGAN(saturating=False), SAN(base=StdGAN(saturating=False)), direction()
    logits, others = layer(REAL).detach(), layer(FAKE).detach()
    assert torch.equal(objective.generator_loss(None, logits), base.generator_loss(None, logits[:, :1]))
    assert torch.equal(objective.score(logits), logits[:, 0])
    assert torch.equal(objective.disagreement(logits, others), base.disagreement(logits[:, :1], others[:, :1]))
    assert objective.equilibrium_loss() == base.equilibrium_loss()
    fake = FAKE.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.score(layer(fake)).sum(), fake)
    torch.testing.assert_close(gradient, (1.7 * normalize(layer.weight.detach(), dim=1)).expand(5, 3))


def test_its_direction_has_length_one_after_every_update(experiment: Callable[..., Experiment]) -> None:
    tiny = experiment(*TINY, "objective=san", "regularizer=r1", "discriminator_labels=auxiliary")
    assert {"unit_direction", "r1", "classification"} <= set(tiny.bounds)
    (layer,) = (module for module in tiny.game.discriminator.modules() if isinstance(module, Direction))
    before = [layer.weight.detach().clone(), layer.scale.detach().clone(), layer.shift.detach().clone()]
    for _ in train(tiny):
        assert layer.weight.norm().item() == pytest.approx(1, abs=1e-6)
    assert not any(map(torch.equal, before, (layer.weight, layer.scale, layer.shift)))
    free = experiment(*TINY, "objective=san", "~regularizer.unit_direction")
    list(train(free))
    (layer,) = (module for module in free.game.discriminator.modules() if isinstance(module, Direction))
    assert layer.weight.norm().item() > 1 + 1e-6  # gradients along the sphere lengthen it


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objective=san", "discriminator_labels=projection"], "set discriminator_labels=none"),
        (["objective=hinge", "regularizer=unit_direction"], "set objective=san, or remove this regularizer"),
    ],
)
def test_what_has_no_one_direction_is_refused(
    experiment: Callable[..., Experiment], overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        experiment(*TINY, *overrides)


def test_several_outcomes_are_refused() -> None:
    with pytest.raises(ValueError, match="Realness reads 3 outcomes, and there is one direction"):
        SAN(base=realness(num_outcomes=3))
