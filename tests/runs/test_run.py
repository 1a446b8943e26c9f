"""What a run records of each logged step."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gan_cli.experiment import Experiment, Player
from gan_cli.runs.formats import read_record
from gan_cli.runs.run import fetch
from gan_cli.trainer import train

from ..conftest import TINY_MLP

Build = Callable[..., Experiment]
POINTS = [*TINY_MLP, "model=mlp", "dataset=grid3", "dataset.points_per_mode=8"]


def norms_of_updates(tiny: Experiment) -> list[tuple[str, float]]:
    """Fills up, update for update, with the player and the norm of the gradients that its optimizer is given."""
    seen: list[tuple[str, float]] = []

    def watch(player: Player) -> None:
        def see(*arguments: Any) -> None:
            gradients = [parameter.grad.double().flatten() for parameter in player.network.parameters()]
            seen.append((player.name, torch.cat(gradients).norm().item()))

        player.optimizer.register_step_pre_hook(see)

    for player in tiny.players:
        watch(player)
    return seen


def test_gradient_norms_are_those_of_each_players_own_last_turn(experiment: Build) -> None:
    tiny = experiment(*POINTS, "discriminator_steps=2", "generator_steps=2", "regularizer=[r1,mode_seeking]")
    seen = norms_of_updates(tiny)
    for step in train(tiny):
        found = fetch(step, tiny)["gradient_norms"]
        assert [name for name, _ in seen] == ["discriminator"] * 2 + ["generator"] * 2
        assert found == {name: pytest.approx(norm, rel=1e-5) for name, norm in seen}  # the last of each
        assert found["generator"] != pytest.approx(seen[2][1], rel=1e-5)
        seen.clear()


def test_a_norm_that_is_not_finite_is_left_out_as_json_has_no_such_number(experiment: Build) -> None:
    tiny = experiment(*POINTS)
    step = next(train(tiny))
    next(tiny.game.generator.parameters()).grad.fill_(math.inf)
    assert list(fetch(step, tiny)["gradient_norms"]) == ["discriminator"]


def test_rates_are_those_that_the_step_was_made_with(experiment: Build) -> None:
    falling = "{start: 1e-3, end: 0.0, until: 4, shape: linear}"
    tiny = experiment(*POINTS, "generator_optimizer.lr=2e-4", f"discriminator_optimizer.lr={falling}")
    rates = [fetch(step, tiny)["rates"] for step in train(tiny)]
    assert [rate["generator"] for rate in rates] == [2e-4] * 3
    assert [rate["discriminator"] for rate in rates] == pytest.approx([1e-3, 7.5e-4, 5e-4], rel=1e-12)


def test_a_record_may_have_them_or_be_of_an_earlier_version() -> None:
    old = b'{"step": 1, "losses": {"generator": {"adversarial": 1.0}}, "scores": {"real": 0.5}}'
    assert read_record(old) is not None
    assert read_record(old[:-1] + b', "rates": {"generator": 0.1}, "gradient_norms": {"generator": 2}}') is not None
    assert read_record(old[:-1] + b', "rates": {"generator": "fast"}}') is None
    assert read_record(old[:-1] + b', "gradient_norms": 5}') is None
