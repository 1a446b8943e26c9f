"""Path length regularization against closed forms, and its average across a resume."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_cli.errors import UserError
from gan_cli.experiment import Experiment
from gan_cli.game import Game, Turn
from gan_cli.models.stylegan2 import Generator
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers import PathLength
from gan_cli.trainer import train

from ..conftest import TINY
from ..outcome import whole_and_continued
from ..values import a_turn

MIXING = [*TINY, "model=stylegan2", "model.generator.mixing=0.9", "latent_dim=4"]


class Linear(nn.Module):
    """Styles of two layers, which add up, to images of 1 x 2 pixels in two colours: a matrix for each layer."""

    style_shape = (2, 3)

    def __init__(self) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.randn(2, 4, 3, dtype=torch.float64))

    def forward(self, styles: Tensor) -> Tensor:
        return torch.einsum("lps,bls->bp", self.matrices, styles).unflatten(1, (2, 1, 2))


class Straight(nn.Module):
    """A generator whose styles are its codes, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.synthesis = Linear()

    def forward(self, codes: Tensor) -> Tensor:
        made: Tensor = self.synthesis(codes[:, None].expand(-1, 2, -1))
        return made


def turn(batch: int) -> Turn:
    codes = torch.randn(batch, 3, dtype=torch.float64)
    return a_turn(torch.zeros(batch, 2, 1, 2), torch.zeros(batch, 2, 1, 2), codes)


def expected_lengths(matrices: Tensor, batch: int) -> Tensor:
    """The root of the mean over layers of |M^T y|^2, with y that the present random state draws."""
    directions = torch.randn(batch, 2, 1, 2, dtype=torch.float64).flatten(1) / math.sqrt(2)
    return torch.einsum("lps,bp->bls", matrices, directions).square().sum(2).mean(1).sqrt()


def test_it_is_the_equation_for_a_linear_generator_and_its_gradient() -> None:
    network = Straight()
    game, path_length = (
        Game(network, nn.Identity(), Wasserstein()),
        PathLength(weight=1.0, every=1, decay=0.9, share=0.5),
    )
    path_length.double()
    mean = 0.0
    for seed in range(3):
        shown = turn(8)
        torch.manual_seed(seed)
        found = path_length.penalty(game, shown)
        torch.manual_seed(seed)
        lengths = expected_lengths(network.synthesis.matrices, 4)
        mean = 0.9 * mean + 0.1 * lengths.mean().item()
        assert path_length.mean.item() == pytest.approx(mean, rel=1e-9)
        expected = (lengths - mean).square().mean()
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
        slopes = [torch.autograd.grad(loss, network.synthesis.matrices)[0] for loss in (found, expected)]
        torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-12)
        assert slopes[0].any()


def test_a_generator_that_keeps_lengths_has_no_penalty_once_the_average_is_there() -> None:
    """One image of four numbers for both layers, an isometry of four styles: |J^T y| is |y|, whose law is chi."""
    network = Straight()
    network.synthesis.matrices = nn.Parameter(torch.eye(4, dtype=torch.float64).expand(2, 4, 4))
    network.synthesis.style_shape = (2, 4)  # type: ignore[misc]
    path_length = PathLength(weight=1.0, every=1, decay=0.99, share=1.0).double()
    path_length.mean.fill_(chi := math.gamma(2.5) / math.gamma(2))  # of N(0, I / 2) in 4 dimensions
    codes = torch.randn(20_000, 4, dtype=torch.float64)
    torch.manual_seed(0)
    none = torch.zeros(20_000, 2, 1, 2)
    penalty = path_length.penalty(Game(network, nn.Identity(), Wasserstein()), a_turn(none, none, codes))
    assert penalty.item() == pytest.approx(2 - chi**2, rel=0.03)
    assert path_length.mean.item() == pytest.approx(chi, rel=1e-3)


def test_it_has_the_gradient_of_its_differences_in_stylegan2() -> None:
    torch.manual_seed(0)
    network = Generator(
        width=3, full_width_until=8, mapping_depth=1, mixing=0.5, latent_dim=3, image_shape=(1, 8, 8)
    ).double()
    game = Game(network, nn.Identity(), Wasserstein())
    codes, images = torch.randn(4, 3, dtype=torch.float64), torch.zeros(4, 1, 8, 8)

    def value() -> Tensor:
        torch.manual_seed(1)  # the same directions, noise and mixing
        path_length = PathLength(weight=1.0, every=1, decay=0.0, share=1.0).double()
        path_length.mean.fill_(0.3)
        path_length.decay = 1.0  # it stays, because it carries no gradient
        return path_length.penalty(game, a_turn(images, images, codes))

    synthesis = network.synthesis
    parameters = [layer.weight for layer in synthesis.layers] + [synthesis.to_images[1].affine.weight]
    parameters += [synthesis.layers[1].affine.bias, network.mapping[1].weight]
    for parameter, slope in zip(parameters, torch.autograd.grad(value(), parameters), strict=True):  # type: ignore[arg-type]
        assert isinstance(parameter, Tensor)
        step, values = torch.randn_like(parameter), []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-5 * step
            values.append(value().item())
            with torch.no_grad():
                parameter -= sign * 1e-5 * step
        assert (slope * step).sum().item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-8)


def test_it_is_added_in_every_fourth_turn_with_four_times_its_weight(experiment: Callable[..., Experiment]) -> None:
    tiny = experiment(*MIXING, "steps=5", "regularizer=path_length")
    path_length = tiny.bounds["path_length"]
    assert isinstance(path_length, PathLength)
    assert (path_length.weight, path_length.every, path_length.share) == (2.0, 4, 0.5)
    steps = list(train(tiny))
    assert ["path_length" in step.losses["generator"] for step in steps] == [False, False, False, True, False]
    assert path_length.mean > 0


@pytest.mark.slow
def test_its_average_is_the_same_bits_after_a_resume(experiment: Callable[..., Experiment]) -> None:
    settings = [*MIXING, "steps=4", "regularizer=path_length", "regularizer.path_length.every=1"]
    whole, again = whole_and_continued(experiment, *settings)
    kept = again.parts()["regularizer.path_length"].state_dict()
    assert set(kept) == {"mean"}
    assert torch.equal(whole.parts()["regularizer.path_length"].state_dict()["mean"], kept["mean"])
    for one, other in zip(whole.game.generator.parameters(), again.game.generator.parameters(), strict=True):
        assert torch.equal(one, other)


def test_generators_without_styles_are_refused_in_one_line(experiment: Callable[..., Experiment]) -> None:
    with pytest.raises(UserError, match=r"regularizer.path_length: .*dcgan.Generator.* without styles: set model=sty"):
        experiment(*TINY, "regularizer=path_length")
