"""The loop against one written out by hand, and each wire of it on its own."""

from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gan_cli.experiment import Experiment
from gan_cli.seeding import batch_rows, mix
from gan_cli.trainer import real_batches, train, update

from .conftest import TINY

Build = Callable[..., Experiment]


def test_three_steps_are_what_a_hand_written_loop_does(experiment: Build) -> None:
    """StdGAN with R1, two discriminator updates a step, Adam and a moving average, without any of our functions."""
    settings = [*TINY, "regularizer=r1", "discriminator_steps=2", "ema_decay=0.5", "seed=3"]
    ours, theirs = experiment(*settings), experiment(*settings)
    list(train(ours))

    generator, discriminator = theirs.players.game.generator, theirs.players.game.discriminator
    average = [parameter.clone() for parameter in generator.parameters()]
    adam = {"lr": 1e-3, "betas": (0.0, 0.99), "fused": True}
    generator_optimizer = torch.optim.Adam(generator.parameters(), **adam)
    discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), **adam)
    for step in range(3):
        torch.manual_seed(mix("step", 3, 0, step))
        for turn in range(2):
            rows = batch_rows(1797, 4, 3, step * 3 + turn)
            real = (theirs.table.values[rows] / 127.5 - 1).requires_grad_(True)
            fake = generator(torch.randn(4, 128)).detach()
            real_logits, fake_logits = discriminator(real.detach()), discriminator(fake)
            (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
            penalty = 10 * slope.square().sum((1, 2, 3)).mean() / 2
            loss = softplus(-real_logits).mean() + softplus(fake_logits).mean() + penalty
            discriminator_optimizer.zero_grad()
            loss.backward()
            discriminator_optimizer.step()
        loss = softplus(-discriminator(generator(torch.randn(4, 128)))).mean()
        generator_optimizer.zero_grad()
        loss.backward()
        generator_optimizer.step()
        average = [0.5 * old + 0.5 * new.detach() for old, new in zip(average, generator.parameters(), strict=True)]

    for name, expected in (("generator", generator), ("discriminator", discriminator)):
        for mine, hand in zip(getattr(ours.players.game, name).parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(mine, hand, rtol=1e-4, atol=1e-6)
    for mine, mean in zip(ours.players.ema_generator.parameters(), average, strict=True):
        torch.testing.assert_close(mine, mean, rtol=1e-4, atol=1e-6)


def test_steps_and_turns_see_new_batches(experiment: Build) -> None:
    tiny = experiment(*TINY)
    seen = [batch.images for step in range(3) for batch in real_batches(tiny, step)]
    assert len(seen) == 6
    assert not any(torch.equal(one, other) for one, other in combinations(seen, 2))


def test_the_update_descends_the_sum_of_every_term() -> None:
    player = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(player.weight)
    optimizer = torch.optim.SGD(player.parameters(), lr=1.0)
    update(player, optimizer, {"adversarial": player.weight.sum(), "penalty": 2 * player.weight.sum()})
    assert player.weight.item() == -3.0


def test_every_step_is_seeded_by_seed_rank_and_step(experiment: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int, int]] = []
    monkeypatch.setattr("gan_cli.trainer.seed_step", lambda seed, rank, step: calls.append((seed, rank, step)))
    list(train(experiment(*TINY, "seed=5")))
    assert calls == [(5, 0, 0), (5, 0, 1), (5, 0, 2)]


def test_constraints_and_optimizers_reach_their_player(experiment: Build) -> None:
    tiny = experiment(
        *TINY, "regularizer=spectral_norm", "generator_optimizer.lr=0.1", "discriminator_optimizer.lr=0.2"
    )
    game = tiny.players.game
    assert any(hasattr(layer, "parametrizations") for layer in game.discriminator.modules())
    assert not any(hasattr(layer, "parametrizations") for layer in game.generator.modules())
    for optimizer, player, rate in (
        (tiny.generator_optimizer, game.generator, 0.1),
        (tiny.discriminator_optimizer, game.discriminator, 0.2),
    ):
        assert optimizer.param_groups[0]["lr"] == rate
        assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for p in player.parameters()}


def test_learning_rates_fall_linearly_to_nothing(experiment: Build) -> None:
    """From step 2 of 6 on: 1, 1, 1, 3/4, 2/4, 1/4 of each player's own."""
    tiny = experiment(
        *TINY, "steps=6", "decay_start=2", "generator_optimizer.lr=0.5", "discriminator_optimizer.lr=0.25"
    )
    seen = []
    for _ in train(tiny):
        seen.append([o.param_groups[0]["lr"] for o in (tiny.generator_optimizer, tiny.discriminator_optimizer)])
    assert seen == [[0.5 * part, 0.25 * part] for part in (1, 1, 1, 0.75, 0.5, 0.25)]


def test_a_run_continued_in_its_decay_has_the_same_rates(experiment: Build) -> None:
    """The optimizer's state holds the last rate, which must not become the first of the next."""
    settings = [*TINY, "steps=6", "decay_start=0"]
    whole, first, second = experiment(*settings), experiment(*settings), experiment(*settings)
    list(train(whole))
    steps = train(first)
    for _ in range(4):
        next(steps)
    for name, part in second.parts().items():
        part.load_state_dict(first.parts()[name].state_dict())
    list(train(second, 4))
    for ours, theirs in zip(
        second.players.game.generator.parameters(), whole.players.game.generator.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
