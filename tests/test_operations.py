"""How many operations a turn asks of the device: a small network on a GPU takes as long as they take to start."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gan_cli.experiment import Experiment
from gan_cli.feed import real_batches
from tests.values import update

SMALL = ["batch_size=4", "generator_batch_size=4", "model.generator.width=4", "model.discriminator.width=4"]
COLOUR = ["dataset=image_folder", "dataset.image_size=32"]
RESNET = ["experiment=sngan_resnet_cifar10", *COLOUR, *SMALL]


class Operations(TorchDispatchMode):
    """Counts operators, views included, as they reach the device's code."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counted[str(function)] += function.namespace == "aten"
        return function(*args, **(kwargs or {}))


def operations(experiment: Experiment) -> Mapping[str, Counter[str]]:
    """Of one turn of each player with its update, after another one."""
    for _ in range(2):
        found: dict[str, Counter[str]] = {}
        batches = real_batches(experiment, 0)
        turns = {player.name: [next(batches) for _ in range(player.num_turns)] for player in experiment.players}
        for player in experiment.players:
            with Operations() as mode:
                update(player, player.play(experiment.rules, turns[player.name][0], 1, 0).losses)
            found[player.name] = mode.counted
    return found


@pytest.mark.parametrize(
    ("overrides", "discriminator", "generator"),
    [
        ([], 195, 116),
        ([*RESNET], 325, 320),
        ([*RESNET, "~regularizer.spectral_norm", "objective=stdgan"], 205, 260),
        (["experiment=wgan_gp_resnet_cifar10", *COLOUR, *SMALL], 370, 260),
    ],
    ids=["digits", "sngan", "resnet dcgan", "wgan_gp"],
)
def test_a_turn_has_at_most_so_many(
    experiment: Callable[..., Experiment],
    photographs: Any,
    overrides: list[str],
    discriminator: int,
    generator: int,
) -> None:
    """Their number does not depend on batch and width."""
    root = [f"dataset.root={photographs}"] if overrides else []
    found = operations(experiment(*overrides, *root))
    assert sum(found["discriminator"].values()) <= discriminator
    assert sum(found["generator"].values()) <= generator


def test_operations_are_counted() -> None:
    with Operations() as mode:
        torch.ones(2).add(1).view(1, 2)
    assert mode.counted == {"aten.ones.default": 1, "aten.add.Tensor": 1, "aten.view.default": 1}
