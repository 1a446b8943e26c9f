"""Compiled networks: where they are called, what compiling leaves behind, and what happens where it fails."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from gan_cli.engine import Engine
from gan_cli.evaluation import generate
from gan_cli.experiment import Experiment
from gan_cli.trainer import train

from .conftest import A_CLASSIFIER, TINY, TINY_MLP

Build = Callable[..., Experiment]
COMPILE = "engine.compile=true"
POINTS = ["model=mlp", *TINY_MLP, "dataset=grid3", "dataset.points_per_mode=8"]


class Called:
    """A stand-in for torch.compile: calls the network, and counts its passes by whether a gradient is asked for."""

    def __init__(self) -> None:
        self.passes: dict[str, int] = {}

    def compiled(self, engine: Engine, network: nn.Module) -> Callable[..., Any]:
        name = type(network).__name__

        def call(*inputs: Any) -> Any:
            self.passes[name] = self.passes.get(name, 0) + 1
            return network(*inputs)

        return call


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    stand_in = Called()
    monkeypatch.setattr(Engine, "compiled", lambda engine, network: stand_in.compiled(engine, network))
    return stand_in


def losses(experiment: Experiment) -> list[float]:
    return [loss for step in train(experiment) for loss in step.terms.tolist()]


@pytest.mark.parametrize(
    ("settings", "generated", "judged"),
    [
        (["regularizer=none"], 2, 2),
        (["regularizer=[r1,vat]"], 2, 2),
        (["regularizer=none", "latent_sampler=advlat_qua", "latent_sampler.steps=3"], 2, 2),
        (["regularizer=none", "objective=relativistic"], 2, 3),
    ],
)
def test_passes_of_turns_are_compiled_and_those_of_penalties_and_searches_are_not(
    experiment: Build, called: Called, settings: list[str], generated: int, judged: int
) -> None:
    """They may be differentiated twice. Real and generated images share a pass; the first pass is when it is built."""
    tiny = experiment(*TINY, *settings, COMPILE, "steps=3")
    assert called.passes == {"Generator": 1, "Discriminator": 1}
    list(train(tiny))
    assert called.passes == {"Generator": 1 + 3 * generated, "Discriminator": 1 + 3 * judged}


def test_evaluation_is_not_compiled(experiment: Build, called: Called) -> None:
    tiny = experiment(*TINY, COMPILE)
    generate(tiny.gan, 4, 0, None, tiny.dataset.stored)
    with tiny.gan.at_rest() as game:
        game.judge(tiny.training_set.batch(torch.arange(4)))
        assert not game.engine.compile
    assert called.passes == {"Generator": 1, "Discriminator": 1}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [[], ["regularizer=spectral_norm"], ["model=cnn", "dataset.image_size=32"]])
def test_compiling_leaves_nothing_behind(experiment: Build, called: Called, settings: list[str]) -> None:
    """Neither in weights, nor in statistics and singular vectors, nor in random draws, nor in counts of passes."""
    compiled, plain = experiment(*TINY, *settings, COMPILE), experiment(*TINY, *settings)
    for name, part in compiled.gan.networks().items():
        theirs = plain.gan.networks()[name].state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in part.state_dict().items())
    assert compiled.game.passes.generator == plain.game.passes.generator
    assert losses(compiled) == losses(plain)


def test_a_network_that_cannot_be_compiled_is_said_and_stays_as_it_is(
    experiment: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(network: nn.Module, **settings: Any) -> Callable[..., Any]:
        def call(*inputs: Any) -> Any:
            raise RuntimeError("no compiler\nis found")

        return call if type(network).__name__ == "Generator" else network

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.warns(UserWarning, match="engine.compile=true, but the generator cannot be: no compiler") as said:
        tiny = experiment(*TINY, COMPILE)
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert losses(tiny) == losses(experiment(*TINY))


def test_a_classifier_is_compiled_alone(experiment: Build, called: Called) -> None:
    list(train(experiment(*A_CLASSIFIER, COMPILE)))
    assert list(called.passes) == ["Classifier"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("settings", [["regularizer=gradient_penalty"], ["engine.precision=bfloat16"]])
def test_compiled_networks_compute_the_same(experiment: Build, settings: list[str]) -> None:
    """Losses of five steps, with a penalty that differentiates twice, and under autocast."""
    compiled, plain = experiment(*POINTS, *settings, "steps=5", COMPILE), experiment(*POINTS, *settings, "steps=5")
    networks = compiled.game.compiled
    assert networks is not None
    assert networks.generator is not compiled.game.generator
    assert networks.discriminator is not compiled.game.discriminator
    tolerance = 0.02 if "bfloat16" in settings[0] else 1e-4
    assert losses(compiled) == pytest.approx(losses(plain), rel=tolerance, abs=tolerance)
