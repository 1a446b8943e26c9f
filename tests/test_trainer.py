"""The loop against one written out by hand, and each wire of it on its own."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan_cli import build_experiment, config_of
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.experiment import Experiment, Player
from gan_cli.feed import real_batches
from gan_cli.game import Game, Turn
from gan_cli.iteration import Step, take_turn
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.regularizers import Regularizer
from gan_cli.seeding import batch_rows, mix
from gan_cli.shapes import Loss
from gan_cli.trainer import train
from gan_cli.turns import discriminator_turn
from tests.values import update

from .conftest import TINY, tiny_data
from .third_party import chosen

Build = Callable[..., Experiment]


def test_three_steps_are_what_a_hand_written_loop_does(experiment: Build) -> None:
    """StdGAN with R1, two discriminator updates a step, Adam and a moving average, without any of our functions."""
    settings = [*TINY, "regularizer=r1", "discriminator_steps=2", "ema_decay=0.15", "seed=3"]
    ours, theirs = experiment(*settings), experiment(*settings)
    list(train(ours))

    generator, discriminator = theirs.game.generator, theirs.game.discriminator
    average = [parameter.clone() for parameter in generator.parameters()]
    adam = {"lr": 1e-3, "betas": (0.0, 0.99), "fused": True}
    generator_optimizer = torch.optim.Adam(generator.parameters(), **adam)
    discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), **adam)
    for step in range(3):
        torch.manual_seed(mix("step", 3, 0, step))
        for turn in range(2):
            rows = batch_rows(1797, 4, 3, step * 3 + turn)
            real = (theirs.training_set.values[rows] / 127.5 - 1).requires_grad_(True)
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
        decay = (1 / 10, 0.15, 0.15)[step]  # ramped up
        present = generator.parameters()
        average = [decay * old + (1 - decay) * new.detach() for old, new in zip(average, present, strict=True)]

    for name, expected in (("generator", generator), ("discriminator", discriminator)):
        for mine, hand in zip(getattr(ours.game, name).parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(mine, hand, rtol=1e-4, atol=1e-6)
    for mine, mean in zip(ours.gan.ema_generator.parameters(), average, strict=True):
        torch.testing.assert_close(mine, mean, rtol=1e-4, atol=1e-6)


def test_steps_and_turns_see_new_batches(experiment: Build) -> None:
    tiny = experiment(*TINY)
    seen = [batch.real.images for step in range(3) for batch in real_batches(tiny, step)]
    assert len(seen) == 6
    assert not any(torch.equal(one, other) for one, other in combinations(seen, 2))


@pytest.mark.parametrize(("size", "count"), [(None, 1), (2, 1), (4, 1), (5, 2), (8, 2), (10, 3)])
def test_the_generator_has_a_batch_size_of_its_own(experiment: Build, size: int | None, count: int) -> None:
    """A turn of it takes as many whole batches as make up its size, in order, and leaves what is too much."""
    overrides = [] if size is None else [f"generator_batch_size={size}"]
    tiny = experiment(*TINY, "discriminator_steps=2", "generator_steps=2", *overrides)
    number = 0
    for step in range(3):
        turns = [(1, 4), (1, 4), (count, size or 4), (count, size or 4)]
        for (parts, kept), batch in zip(turns, real_batches(tiny, step), strict=True):
            rows = torch.cat([batch_rows(1797, 4, 0, number + part) for part in range(parts)])
            expected = tiny.training_set.batch(rows[:kept])
            assert torch.equal(batch.real.images, expected.images)
            assert torch.equal(batch.real.labels, expected.labels)
            number += parts


def test_the_generator_makes_as_many_images_as_its_own_batch_has(experiment: Build) -> None:
    tiny = experiment(*TINY, "generator_batch_size=10", "discriminator_steps=2", "steps=1")
    made: list[int] = []
    tiny.game.generator.register_forward_pre_hook(lambda module, inputs: made.append(len(inputs[0])))
    list(train(tiny))
    assert made == [4, 4, 10]


def test_the_update_descends_the_sum_of_every_term() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    player = Player("discriminator", network, optimizer, discriminator_turn, num_turns=1, batch_size=1)
    update(player, {"adversarial": network.weight.sum(), "penalty": 2 * network.weight.sum()})
    assert network.weight.item() == -3.0


def test_every_step_is_seeded_by_seed_rank_and_step(experiment: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int, int]] = []
    monkeypatch.setattr("gan_cli.engine.seed_step", lambda *key: calls.append(key[:3]))
    list(train(experiment(*TINY, "seed=5")))
    assert calls == [(5, 0, 0), (5, 0, 1), (5, 0, 2)]


def named(tiny: Experiment) -> dict[str, Player]:
    return {player.name: player for player in tiny.players}


def test_constraints_and_optimizers_reach_their_player(experiment: Build) -> None:
    tiny = experiment(
        *TINY, "regularizer=spectral_norm", "generator_optimizer.lr=0.1", "discriminator_optimizer.lr=0.2"
    )
    game = tiny.game
    assert any(hasattr(layer, "parametrizations") for layer in game.discriminator.modules())
    assert not any(hasattr(layer, "parametrizations") for layer in game.generator.modules())
    for name, network, rate in (("generator", game.generator, 0.1), ("discriminator", game.discriminator, 0.2)):
        player = named(tiny)[name]
        assert player.network is network
        assert player.optimizer.param_groups[0]["lr"] == rate
        assert {id(p) for p in player.optimizer.param_groups[0]["params"]} == {id(p) for p in network.parameters()}


def falling(start: float, since: int, until: int) -> str:
    return f"{{start: {start}, end: 0.0, until: {until}, shape: linear, since: {since}}}"


def test_learning_rates_fall_linearly_to_nothing(experiment: Build) -> None:
    """From step 2 of 6 on: 1, 1, 1, 3/4, 2/4, 1/4 of each player's own."""
    tiny = experiment(
        *TINY,
        "steps=6",
        f"generator_optimizer.lr={falling(0.5, 2, 6)}",
        f"discriminator_optimizer.lr={falling(0.25, 2, 6)}",
    )
    seen = []
    for _ in train(tiny):
        seen.append([named(tiny)[name].optimizer.param_groups[0]["lr"] for name in ("generator", "discriminator")])
    assert seen == [[0.5 * part, 0.25 * part] for part in (1, 1, 1, 0.75, 0.5, 0.25)]


@pytest.mark.parametrize(("rate", "steps", "since"), [(2e-4, 50, 0), (1e-3, 40, 13), (3e-4, 30, 7)])
def test_a_linear_rate_is_bitwise_what_linear_decay_is(experiment: Build, rate: float, steps: int, since: int) -> None:
    """To the last bit lr * ((steps - step) / (steps - since)), which recipes with a decay rest on."""
    tiny = experiment(*TINY, f"steps={steps}", f"generator_optimizer.lr={falling(rate, since, steps)}")
    player = named(tiny)["generator"]
    for step in range(steps):
        player.set_schedules(step)
        expected = rate * min(1.0, (steps - step) / (steps - since))
        assert player.optimizer.param_groups[0]["lr"].hex() == expected.hex(), step


def test_a_run_continued_in_its_decay_has_the_same_rates(experiment: Build) -> None:
    """The optimizer's state holds the last rate, which must not become the first of the next."""
    settings = [*TINY, "steps=6", *(f"{name}_optimizer.lr={falling(1e-3, 0, 6)}" for name in PLAYERS)]
    whole, first, second = experiment(*settings), experiment(*settings), experiment(*settings)
    list(train(whole))
    steps = train(first)
    for _ in range(4):
        next(steps)
    for name, part in second.parts().items():
        part.load_state_dict(first.parts()[name].state_dict())
    list(train(second, 4))
    for ours, theirs in zip(second.game.generator.parameters(), whole.game.generator.parameters(), strict=True):
        assert torch.equal(ours, theirs)


PLAYERS = ("generator", "discriminator")


class Used:
    """What each update of a player's optimizer really went by: the settings of its groups at `step()`."""

    def __init__(self, player: Player, *keys: str) -> None:
        self.settings: list[list[tuple[Any, ...]]] = []

        def note(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            self.settings.append([tuple(group[key] for key in keys) for group in optimizer.param_groups])

        player.optimizer.register_step_pre_hook(note)


def test_groups_with_a_rate_of_their_own_keep_it(experiment: Build) -> None:
    """Without schedules the loop sets no group's rate; on both ends: the settings, and what they do to the weights."""
    own = chosen("generator_optimizer", "TwoSpeedAdam", lr=0.01, betas="[0.5,0.9]", bias_lr=0.0)
    tiny = experiment(*TINY, *own)
    generator = named(tiny)["generator"]
    used = Used(generator, "lr")
    before = {name: value.clone() for name, value in tiny.game.generator.named_parameters()}
    list(train(tiny))
    assert used.settings == [[(0.01,), (0.0,)]] * 3
    still = {name for name, value in tiny.game.generator.named_parameters() if torch.equal(value, before[name])}
    assert still == {name for name, value in before.items() if value.ndim == 1}
    assert still


def test_a_schedule_moves_only_groups_that_were_given_no_rate_of_their_own(experiment: Build) -> None:
    own = chosen("generator_optimizer", "TwoSpeedAdam", lr=falling(0.5, 0, 4), betas="[0.5,0.9]", bias_lr=0.125)
    tiny = experiment(*TINY, "steps=4", *own)
    used = Used(named(tiny)["generator"], "lr")
    list(train(tiny))
    assert used.settings == [[(0.5 * part,), (0.125,)] for part in (1, 0.75, 0.5, 0.25)]


def test_betas_may_change_one_by_one(experiment: Build) -> None:
    tiny = experiment(
        *TINY, "steps=4", "generator_optimizer.betas=[0.5,{start: 0.75, end: 0.875, until: 2, shape: linear}]"
    )
    used = Used(named(tiny)["generator"], "lr", "betas")
    theirs = Used(named(tiny)["discriminator"], "betas")
    list(train(tiny))
    assert used.settings == [[(1e-3, (0.5, second))] for second in (0.75, 0.8125, 0.875, 0.875)]
    assert theirs.settings == [[((0.0, 0.99),)]] * 4


def test_a_penaltys_weight_may_change(experiment: Build) -> None:
    """Half a cosine wave from 8 to 0 over four steps: the term is the penalty times the weight of its step."""
    penalties = []

    class Three(Regularizer):
        player = "discriminator"

        def penalty(self, game: Game, turn: Turn) -> Loss:
            penalties.append(3.0)
            return torch.tensor(3.0)

    scheduled = "{start: 8.0, end: 0.0, until: 4, shape: cosine}"
    tiny = experiment(*TINY, "steps=6", f"regularizer.r1.weight={scheduled}", "discriminator_steps=2")
    bound = tiny.bounds["r1"]
    assert isinstance(bound, Regularizer)
    tiny.bounds["three"] = Three(weight=bound.weight, every=2)
    found = [step.losses["discriminator"]["three"].item() for step in train(tiny)]
    weights = [4 * (1 + math.cos(math.pi * min(step / 4, 1))) for step in range(6)]
    assert found == pytest.approx([2 * 3 * weight for weight in weights], rel=1e-6, abs=1e-5)
    assert found[4:] == [0.0, 0.0]
    assert len(penalties) == 6


def test_the_weight_of_r1_is_the_steps_own(experiment: Build) -> None:
    """A run whose weight falls to 0 has the losses of one with that constant weight, in the step where it has it."""
    one = experiment(*TINY, "steps=1", "regularizer.r1.weight={start: 5.0, end: 1.0, until: 2, shape: linear}")
    same = experiment(*TINY, "steps=1", "regularizer.r1.weight=5.0")
    (first,), (second,) = list(train(one)), list(train(same))
    assert torch.equal(first.losses["discriminator"]["r1"], second.losses["discriminator"]["r1"])
    assert second.losses["discriminator"]["r1"] > 0


def test_the_moving_averages_decay_may_change(experiment: Build) -> None:
    """0.05, then 0.4 and 0.75, which the first steps do not reach: against averages made by hand in float64."""
    tiny = experiment(*TINY, "steps=3", "ema_decay={start: 0.05, end: 0.75, until: 2, shape: linear}")
    expected = [parameter.double() for parameter in tiny.game.generator.parameters()]
    for decay, _ in zip((0.05, 2 / 11, 3 / 12), train(tiny), strict=True):
        present = tiny.game.generator.parameters()
        expected = [
            decay * old + (1 - decay) * new.detach().double() for old, new in zip(expected, present, strict=True)
        ]
    for mine, hand in zip(tiny.gan.ema_generator.parameters(), expected, strict=True):
        torch.testing.assert_close(mine.double(), hand, rtol=0, atol=1e-7)


def test_losses_see_as_many_images_as_the_generator_is_given(experiment: Build) -> None:
    tiny = experiment(*TINY, "generator_batch_size=6", "objective=relativistic")
    turns: dict[str, Turn] = {}
    for player in tiny.players:
        turns[player.name] = player.play(tiny.rules, list(real_batches(tiny, 0))[tiny.players.index(player)], 1, 0).turn
    assert [len(turns["discriminator"].fake_logits), len(turns["generator"].fake_logits)] == [4, 6]
    generator = turns["generator"]
    assert generator.real_logits is not None
    assert len(generator.real) == len(generator.latents) == len(generator.fake) == len(generator.real_logits) == 6
    list(train(tiny))


NORMALISED = chosen("regularizer.own", "GeneratorSpectralNorm", num_power_iterations=5)


@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_an_own_spectral_norm_holds_a_generator_and_its_average(experiment: Build, model: str) -> None:
    """The average's singular vectors are of unit length, the generator's own, and those of its own weights."""
    tiny = experiment(*tiny_data(model), f"model={model}", *NORMALISED)
    generator, average = tiny.game.generator, tiny.gan.ema_generator
    normalised = [module for module in generator.modules() if hasattr(module, "parametrizations")]
    assert len(normalised) == sum(isinstance(module, nn.Linear | nn.Conv2d) for module in generator.modules()) > 0
    assert not any(hasattr(module, "parametrizations") for module in tiny.game.discriminator.modules())
    assert len(list(train(tiny))) == 3
    names = [name for name, _ in generator.named_buffers() if name.endswith((".left", ".right"))]
    assert len(names) == 2 * len(normalised)
    buffers, averaged = dict(generator.named_buffers()), dict(average.named_buffers())
    for name in names:
        assert averaged[name].norm().item() == pytest.approx(1.0, abs=1e-5)
        assert torch.equal(averaged[name], buffers[name])
    for module in average.modules():
        if hasattr(module, "parametrizations"):
            assert isinstance(module.weight, torch.Tensor)
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1.0, rel=0.05)


def test_a_checkpoint_of_such_a_generator_restores(experiment: Build) -> None:
    settings = [*tiny_data("resnet"), "model=resnet", *NORMALISED]
    trained, fresh = experiment(*settings), experiment(*settings, "seed=9")
    list(train(trained))
    for name, part in fresh.parts().items():
        part.load_state_dict(trained.parts()[name].state_dict())
    codes = torch.randn(4, 128)
    for network in ("game.generator", "gan.ema_generator"):
        ours, theirs = (attribute(one, network).eval() for one in (fresh, trained))
        with torch.no_grad():
            assert torch.equal(ours(codes), theirs(codes))


def attribute(root: object, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root


def test_parts_are_told_of_every_step_and_every_turn(experiment: Build) -> None:
    """Before each step once, with the step's random state; after each turn of each player, before its update."""
    told: list[Any] = []

    class Listener(Regularizer):
        player = "generator"

        def penalty(self, game: Game, turn: Turn) -> Loss:
            return torch.tensor(0.0)

        def before_step(self, device: torch.device, step: int) -> None:
            told.append(("step", device, torch.rand(()).item()))

        def after_turn(self, turn: Turn) -> None:
            told.append(("turn", turn))

        def after_update(self, network: nn.Module) -> None:
            told.append(("update", network))

    tiny = experiment(*TINY, "steps=2", "discriminator_steps=2", "generator_batch_size=8")
    tiny.bounds["listener"] = Listener(weight=1.0)
    for player in tiny.players:
        player.optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: told.append(("optimizer", optimizer)))
    steps: Iterator[Step] = train(tiny)
    discriminator, generator = (named(tiny)[name].optimizer for name in ("discriminator", "generator"))
    for number in range(2):
        told.clear()
        next(steps)
        kinds = [kind for kind, *_ in told]
        assert kinds == ["step", *["turn", "optimizer"] * 3, "update"]
        torch.manual_seed(mix("step", 0, 0, number))
        assert told[0][1:] == (torch.device("cpu"), torch.rand(()).item())
        turns = [what for kind, what, *_ in told if kind == "turn"]
        assert [len(turn.real) for turn in turns] == [4, 4, 8]
        assert [turn.real_logits is None for turn in turns] == [False, False, True]
        assert [what for kind, what, *_ in told if kind == "optimizer"] == [discriminator, discriminator, generator]
        assert told[-1][1] is tiny.game.generator


def test_listening_draws_nothing_from_the_turns_of_a_run_without_it(experiment: Build) -> None:
    """A part that is told, and does nothing, leaves a run bitwise what it was."""

    class Quiet(Regularizer):
        player = "generator"

        def penalty(self, game: Game, turn: Turn) -> Loss:
            return torch.tensor(0.0)

    plain, listened = experiment(*TINY), experiment(*TINY)
    listened.bounds["quiet"] = Quiet(weight=1.0)
    list(train(plain))
    list(train(listened))
    for first, second in zip(plain.game.generator.parameters(), listened.game.generator.parameters(), strict=True):
        assert torch.equal(first, second)


class Table(LatentSampler):
    """Codes from a table, one row after the other."""

    def __init__(self, codes: Tensor) -> None:
        self.codes, self.at = codes, 0

    def sample(self, count: int, device: torch.device) -> Tensor:
        self.at += count
        return self.codes[self.at - count : self.at]


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        ("objective=wgan_gp", "regularizer=[r1,r2]", "~regularizer.gradient_penalty"),
        ("objective=relativistic", "objective.pairing=paired", "regularizer=[r1,logit_centering]"),
        ("objective=realness", "objective.anchors=expected", "objective.pairing=index"),
        ("objective=hinge", "conditioning=inner_product", "regularizer=r1"),
    ],
    ids=lambda given: given[0],
)
def test_parts_of_a_batch_have_the_gradients_of_the_whole(given: Sequence[str], in_float64: None) -> None:
    small = ("batch_size=12", "latent_dim=8", "model=r3gan", "model.generator.width=4", "model.discriminator.width=4")
    codes, found = torch.randn(24, 8), []
    for parts in (1, 3):
        experiment = build_experiment(config_of([*small, *given, f"accumulate={parts}"]), Engine())
        experiment = replace(experiment, gan=experiment.gan.with_sampler(Table(codes)))
        turns, outcome = real_batches(experiment, 0), dict[str, Tensor]()
        for player in experiment.players:
            played = take_turn(experiment, player, next(turns), 1, 0)
            outcome |= {f"{player.name} {name}": loss for name, loss in played.losses.items()}
            outcome |= {name: value.grad for name, value in player.network.named_parameters() if value.grad is not None}
            assert len(played.turn.fake) == len(played.turn.fake_logits) == 12
        found.append(outcome)
    whole, summed = found
    assert whole.keys() == summed.keys()
    for name, value in whole.items():
        assert (summed[name] - value).abs().max() <= 1e-12 * (1 + value.abs().max()), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("objective=relativistic", "objective.pairing=average"), "Relativistic reads the whole batch at once"),
        (("regularizer=lecam",), "LeCam reads the whole batch at once: set accumulate=1, not 2, or do without it"),
        (("batch_size=31",), "batch_size=31 cannot be shared equally by accumulate=2: set batch_size=32"),
        (
            ("objective=semi_supervised", "dataset.num_labelled=100"),
            "parts of a batch have different numbers of labels: set accumulate=1, not 2, or set labelled_batch_size",
        ),
    ],
)
def test_parts_that_differ_from_the_whole_are_refused(given: Sequence[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        build_experiment(config_of([*given, "accumulate=2"]), Engine())
