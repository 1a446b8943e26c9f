"""R1 and R2 by finite differences against the exact penalties, in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from gan_cli.augmentations import Augmentation
from gan_cli.experiment import Experiment
from gan_cli.game import Game, Turn
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers import R1, R1FD, R2, R2FD
from gan_cli.trainer import train

from ..conftest import TINY
from ..values import a_turn


class Tanh(nn.Module):
    """A curved critic, whose slope differs from image to image."""

    def __init__(self) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64).view(1, 2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.direction).flatten(1).sum(1, keepdim=True).tanh()


def repeated(images: Tensor, draws: int) -> Turn:
    """Generated images are twice the real ones; every image is there `draws` times."""
    many = images.repeat(draws, 1, 1, 1)
    return a_turn(many, 2 * many)


def few_images(count: int = 3) -> Tensor:
    return 0.3 * torch.randn(count, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("exact", "estimate"), [(R1, R1FD), (R2, R2FD)])
def test_their_limit_is_the_exact_penalty(exact: type[R1 | R2], estimate: type[R1FD | R2FD]) -> None:
    """Of 90,000 draws the relative standard error is below sqrt(2 / 30,000) = 0.8 %."""
    torch.manual_seed(0)
    game, seen = Game(nn.Identity(), Tanh(), Wasserstein()), repeated(few_images(), 30_000)
    expected = exact(weight=1.0).penalty(game, repeated(few_images(), 1))
    found = estimate(weight=1.0, epsilon=1e-5, share=1.0).penalty(game, seen)
    torch.testing.assert_close(found, expected, rtol=0.025, atol=0)
    far = estimate(weight=1.0, epsilon=2.0, share=1.0).penalty(game, seen)
    assert far < 0.8 * expected  # a critic that saturates is flatter over a long way


@pytest.mark.parametrize("estimate", [R1FD, R2FD])
def test_the_slope_in_the_direction_drawn_is_exact(estimate: type[R1FD | R2FD]) -> None:
    """Value and gradient with respect to the weights: half of (grad v . n)^2, as epsilon goes to 0."""
    critic, seen = Tanh(), repeated(few_images(5), 1)
    game = Game(nn.Identity(), critic, Wasserstein())
    images = seen.real.images if estimate is R1FD else seen.fake.images
    torch.manual_seed(1)
    (found,) = torch.autograd.grad(estimate(weight=1.0, epsilon=1e-7, share=1.0).penalty(game, seen), critic.direction)
    torch.manual_seed(1)
    along = (torch.randn_like(images) * critic.direction).flatten(1).sum(1)
    slope = (1 - critic(images).squeeze(1).square()) * along
    (expected,) = torch.autograd.grad(slope.square().mean() / 2, critic.direction)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_it_reads_its_share_of_the_batch() -> None:
    counted = []

    class Counting(Tanh):
        def forward(self, images: Tensor) -> Tensor:
            counted.append(len(images))
            return super().forward(images)

    game, seen = Game(nn.Identity(), Counting(), Wasserstein()), repeated(few_images(8), 1)
    for share in (1.0, 0.25, 0.01):
        R1FD(weight=1.0, epsilon=0.01, share=share).penalty(game, seen)
    assert counted == [8, 8, 2, 2, 1, 1]


def test_both_copies_go_through_the_same_draw_of_the_augmentation() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Scattered(Augmentation):
        def __call__(self, images: Tensor) -> Tensor:
            return images + 100 * torch.randn_like(images)

    class Total(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).sum(1, keepdim=True)

    seen = repeated(few_images(2), 2000)
    torch.manual_seed(0)
    found = R1FD(weight=1.0, epsilon=0.01, share=1.0).penalty(
        Game(nn.Identity(), Total(), Wasserstein(), Scattered()), seen
    )
    assert found.item() == pytest.approx(6 / 2, rel=0.1)  # as without one; draws of their own would give about 1e9


@pytest.mark.parametrize("setting", ["epsilon", "share"])
def test_settings_that_divide_by_zero_are_refused(setting: str) -> None:
    settings = {"weight": 1.0, "epsilon": 0.01, "share": 0.5, setting: 0.0}
    with pytest.raises(ValueError, match=f"{setting}=0.0 must be above 0"):
        R1FD(**settings)


def test_a_step_with_both_takes_no_second_derivative(
    experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a gradient inside a step")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    (step, *_) = list(train(experiment(*TINY, "regularizer=[r1_fd,r2_fd]")))
    assert all(loss.item() > 0 for name, loss in step.losses["discriminator"].items() if name.endswith("_fd"))
