"""MCGAN's regression of the expected score, against its closed form, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gan_cli.experiment import Experiment
from gan_cli.objectives import LSGAN, MCGAN, Classification, Hinge, Objective, SemiSupervised, StdGAN
from gan_cli.trainer import train

from ..conftest import TINY, realness

BASES = {
    "hinge": Hinge(),
    "realness": realness(num_outcomes=3, anchors="expected"),
    "stdgan": StdGAN(saturating=False),
}


def logits(seed: int, count: int, outcomes: int) -> Tensor:
    return torch.randn(count, outcomes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("base", BASES)
def test_the_gradient_is_minus_twice_the_gap_times_that_of_the_mean(base: str) -> None:
    objective = MCGAN(base=BASES[base])
    real, fake = logits(0, 5, objective.num_outcomes).requires_grad_(), logits(1, 7, objective.num_outcomes)
    fake.requires_grad_()
    mean = objective.score(fake).mean()
    gap = (objective.score(real).mean() - mean).item()
    (of_mean,) = torch.autograd.grad(mean, fake, retain_graph=True)
    value = objective.generator_loss(real, fake)
    value.backward()
    torch.testing.assert_close(fake.grad, -2 * gap * of_mean)
    assert real.grad is None
    torch.testing.assert_close(value.item(), objective.score(real).var(correction=0).item() + gap**2)


def test_there_is_no_gradient_where_the_means_are_equal() -> None:
    """The standard GAN's own loss still moves the same generated images."""
    real, fake = logits(0, 6, 1), logits(1, 6, 1)
    fake = (fake - fake.mean() + real.mean()).requires_grad_()
    (gradient,) = torch.autograd.grad(MCGAN(base=Hinge()).generator_loss(real, fake), fake)
    assert gradient.abs().max() < 1e-15
    (gradient,) = torch.autograd.grad(BASES["stdgan"].generator_loss(None, fake), fake)
    assert gradient.abs().min() > 1e-3


def test_each_class_has_its_own_mean() -> None:
    objective = MCGAN(base=Hinge())
    real = torch.tensor([1.0, 2.0, 4.0, 9.0]).double()[:, None]
    fake = torch.tensor([0.5, 1.5, 3.0, 7.0]).double()[:, None]
    of_class = objective.generator_loss_by_class(
        real, fake, torch.tensor([0, 0, 1, 2]), torch.tensor([0, 0, 1, 1])
    )  # no generated image has class 2
    assert of_class.item() == pytest.approx(((1 - 1) ** 2 + (2 - 1) ** 2 + (4 - 5) ** 2) / 3)
    one = torch.zeros(4, dtype=torch.int64)
    torch.testing.assert_close(
        objective.generator_loss_by_class(real, fake, one, one), objective.generator_loss(real, fake)
    )


def test_everything_else_is_the_discriminators_objective() -> None:
    for base in BASES.values():
        objective = MCGAN(base=base)
        real, fake = logits(0, 5, base.num_outcomes), logits(1, 5, base.num_outcomes)
        assert torch.equal(objective.discriminator_loss(real, fake), base.discriminator_loss(real, fake))
        assert torch.equal(objective.score(real), base.score(real))
        assert torch.equal(objective.disagreement(real, fake), base.disagreement(real, fake))
        assert objective.equilibrium_loss() == base.equilibrium_loss()
        assert objective.perfect_loss() == base.perfect_loss()
        assert objective.facts() == base.facts()
        assert objective.generator_reads_real


def test_means_of_classes_are_for_conditional_games(
    experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images of digits have labels in both games, the networks read them in one."""
    asked = []
    by_class = MCGAN.generator_loss_by_class

    def counted(self: MCGAN, *arguments: Tensor) -> Tensor:
        asked.append(arguments[2].tolist() == arguments[3].tolist())
        return by_class(self, *arguments)

    monkeypatch.setattr(MCGAN, "generator_loss_by_class", counted)
    list(train(experiment(*TINY, "objective=mcgan")))
    assert asked == []
    list(train(experiment(*TINY, "objective=mcgan", "conditioning=concat")))
    assert asked == [True] * 3


def test_another_objective_of_the_discriminator_is_a_choice(experiment: Callable[..., Experiment]) -> None:
    tiny = experiment(*TINY, "objective=mcgan", "objective@objective.base=lsgan")
    assert isinstance(tiny.game.objective, MCGAN)
    assert isinstance(tiny.game.objective.base, LSGAN)


@pytest.mark.parametrize(
    "base", [Classification(num_classes=10), SemiSupervised(num_classes=10, generator_weight=1.0)], ids=str
)
def test_a_base_that_learns_classes_is_refused(base: Objective) -> None:
    with pytest.raises(ValueError, match=f"base: {type(base).__name__} learns classes: choose another objective there"):
        MCGAN(base=base)
