"""What happens inside leaves no buffer, singular vector or random state changed, and draws what its key says."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gan_cli.game import Game
from gan_cli.objectives import Wasserstein


def network() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(1, 4, 3)),
        nn.BatchNorm2d(4),
        nn.InstanceNorm2d(4),
        nn.InstanceNorm2d(4, track_running_stats=True),
        nn.Flatten(),
        nn.Linear(16, 1),
    )


def a_game(generator: nn.Module | None = None, discriminator: nn.Module | None = None) -> Game:
    return Game(generator or nn.Identity(), discriminator or nn.Identity(), Wasserstein())


IMAGES = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_buffers_and_random_state_stay() -> None:
    game, before, random = a_game(network(), network()), state(network()), torch.get_rng_state()
    with game.isolated("key"):
        game.generator(IMAGES)
        game.discriminator(IMAGES)
        torch.rand(3)
    for module in (game.generator, game.discriminator):
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_outside_they_go_on_moving() -> None:
    module, before = network(), state(network())
    with a_game(discriminator=module).isolated("key"):
        pass
    module(IMAGES)
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert {"1.running_mean", "1.num_batches_tracked", "3.running_mean"} <= changed
    assert any(name.startswith("0.parametrizations") for name in changed)


def test_an_error_inside_restores_all_the_same() -> None:
    module, random = network(), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="dimension|channels|size|input"), a_game(module).isolated("key"):
        module(torch.rand(1, 1))
    assert torch.equal(torch.get_rng_state(), random)
    assert module[1].track_running_stats
    assert module[0].parametrizations.weight[0].training
    assert not module[2].track_running_stats


def test_batch_statistics_are_still_the_batchs() -> None:
    module = nn.BatchNorm2d(1)
    with a_game(discriminator=module).isolated("key"):
        normed = module(3 + 2 * IMAGES)
    assert normed.mean().item() == pytest.approx(0, abs=1e-5)
    assert normed.std(unbiased=False).item() == pytest.approx(1, abs=1e-4)


def test_a_module_at_rest_stays_at_rest() -> None:
    module = nn.BatchNorm2d(1).eval()
    with a_game(discriminator=module).isolated("key"):
        torch.testing.assert_close(module(IMAGES), IMAGES, rtol=1e-4, atol=1e-4)
    assert module.track_running_stats


def test_the_stream_depends_on_the_key_and_on_the_state_outside() -> None:
    def draw(seed: int, key: str, before: int) -> torch.Tensor:
        torch.manual_seed(seed)
        torch.rand(before)
        with a_game().isolated(key):
            return torch.rand(4)

    assert torch.equal(draw(0, "a", 3), draw(0, "a", 3))
    assert not torch.equal(draw(0, "a", 0), draw(0, "a", 7))  # another turn of the same step
    assert not torch.equal(draw(0, "a", 0), draw(0, "b", 0))
    assert not torch.equal(draw(0, "a", 0), draw(1, "a", 0))
    torch.manual_seed(0)
    assert not torch.equal(torch.rand(4), draw(0, "a", 0))  # nor is it what the step itself is about to draw


def test_the_same_key_draws_the_same_until_something_is_drawn_outside() -> None:
    draws = []
    for outside in (0, 0, 1):
        torch.rand(outside)
        with a_game().isolated("key"):
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[1], draws[2])


def test_spectral_norm_at_rest_stays_at_rest() -> None:
    module = network().eval()
    with a_game(discriminator=module).isolated("key"):
        module(IMAGES)
    assert not module[0].parametrizations.weight[0].training
    assert module[1].track_running_stats


def test_a_stream_of_its_own_leaves_buffers_alone() -> None:
    module, before, random = network(), state(network()), torch.get_rng_state()
    game = a_game(discriminator=module)
    with game.random_stream("key"):
        module(IMAGES)
        drawn = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), random)
    assert not torch.equal(module[1].running_mean, before["1.running_mean"])
    with game.isolated("key"):
        assert torch.equal(torch.rand(4), drawn)
