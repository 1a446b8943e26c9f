"""The game is the only door to the two networks: in the source, and while everything runs."""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.config.compose import CONF
from gan_cli.evaluation import generate
from gan_cli.experiment import Experiment
from gan_cli.feed import real_batches
from gan_cli.game import Game
from gan_cli.shapes import Examples, Latents, Outputs
from gan_cli.trainer import train

from .conftest import A_GENERATOR_ALONE, TINY, tiny_data
from .pairwise import every_third_quick
from .values import scores_of

Build = Callable[..., Experiment]
PACKAGE = CONF.parent / "gan_cli"
NETWORKS = {"generator", "discriminator", "ema_generator", "network"}


def network_calls(source: str) -> Iterator[int]:
    """Lines that call what is named as a network is; within a network's own `forward` a part of it may be called."""
    tree = ast.parse(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == "forward"
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and id(node) not in inside:
            named = node.func.value.attr if isinstance(node.func.value, ast.Attribute) else ""
            if node.func.attr in NETWORKS or (node.func.attr in ("forward", "__call__") and named in NETWORKS):
                yield node.lineno


def test_nothing_but_the_game_calls_a_network() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name != "metrics"  # extractors have networks of their own, which are no players
        for line in network_calls(path.read_text(encoding="utf-8"))
    }
    assert found
    assert {place.split(":")[0] for place in found} == {"game.py"}
    assert len(found) == 2


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("game.generator(z)", [1]),
        ("a = 1\nself.players.game.discriminator(x)", [2]),
        ("gan.ema_generator.forward(z)", [1]),
        ("trained.network(x)", [1]),
        ("game.discriminator.train(False)", []),
        ("class Head:\n    def forward(self, x):\n        return self.network(x)", []),
        ("class Head:\n    def score(self, x):\n        return self.network(x)", [3]),
    ],
)
def test_such_calls_are_found(source: str, lines: list[int]) -> None:
    assert list(network_calls(source)) == lines


def callers() -> set[tuple[str, str]]:
    """The functions that are running now: file and name."""
    found, frame = set(), sys._getframe(1)
    while frame is not None:
        found.add((Path(frame.f_code.co_filename).name, frame.f_code.co_name))
        frame = frame.f_back  # type: ignore[assignment]
    return found


class Guard:
    """Hooks on networks: every pass has to come through the door that is theirs."""

    def __init__(self, experiment: Experiment) -> None:
        self.passes = {"generate": 0, "outputs": 0}
        doors = {
            "generate": (experiment.game.generator, experiment.gan.ema_generator),
            "outputs": (experiment.game.discriminator,),
        }
        for door, networks in doors.items():
            for network in networks:
                network.register_forward_pre_hook(self.watching(door))

    def watching(self, door: str) -> Callable[[Any, Any], None]:
        def watch(network: Any, inputs: Any) -> None:
            assert ("game.py", door) in callers(), f"a pass that does not come through Game.{door}"
            self.passes[door] += 1

        return watch


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


QUICK = {
    "advlat_z": ["latent_sampler.steps=2"],
    "ddls": ["latent_sampler.steps=2"],
    "drs": ["latent_sampler.num_burn_in=16"],
    "mh": ["latent_sampler.chain_length=2"],
    "logan": ["latent_sampler.share=1.0"],
}


CLASSES = {"classification": "discriminator_labels=auxiliary"}  # what a regularizer cannot do without
CLASSES |= {
    f"{player}{name}": f"discriminator_labels={name}"
    for player in ("", "generator_")
    for name in ("contrastive", "d2d_ce")
}
CLASSES |= {"latent_distance": "latent_sampler=logan", "unit_direction": "objective=san"}


@pytest.mark.parametrize(
    "overrides",
    every_third_quick(
        [
            *([f"objective={name}"] for name in choices("objective") if name not in ("classification", "drifting")),
            *(
                [CLASSES.get(name, "objective=semi_supervised"), f"regularizer={name}"]
                for name in choices("regularizer")
                if name != "path_length"
            ),
            ["model=stylegan2", "regularizer=path_length", "regularizer.path_length.every=1"],
            *([f"latent_sampler={name}", *QUICK.get(name, [])] for name in choices("latent_sampler")),
            *(
                [
                    "objective=realness",
                    "objective.generator_objective=2",
                    f"latent_sampler={name}",
                    *QUICK.get(name, []),
                ]
                for name in ("advlat_qua", "advlat_z")
            ),
            *([f"regularizer={name}", f"regularizer.{name}.images=both"] for name in ("vat", "adversarial_training")),
        ],
        of_one_value=True,
    ),
    ids=" ".join,
)
def test_every_pass_of_training_and_scoring_comes_through_the_door(experiment: Build, overrides: list[str]) -> None:
    tiny = experiment(*TINY, "latent_dim=4", *overrides)
    guard = Guard(tiny)
    list(train(tiny))
    assert min(guard.passes.values()) > 0
    trained = dict(guard.passes)
    made = generate(tiny.gan, 4, 0, tiny.gan.calibration(tiny.training_set), torch.uint8)
    scores_of(tiny.gan)(torch.zeros(2, 1, 16, 16))
    assert len(made.values) == 4
    assert all(guard.passes[door] > trained[door] for door in trained)


def test_a_generator_alone_is_compared_through_the_door(experiment: Build) -> None:
    tiny = experiment(*A_GENERATOR_ALONE, "latent_dim=4", "objective=drifting")
    guard = Guard(tiny)
    list(train(tiny))
    assert guard.passes == {"generate": 3, "outputs": 6}


def test_the_guard_sees_who_walks_around_it(experiment: Build) -> None:
    tiny = experiment(*TINY)
    Guard(tiny)
    real = next(real_batches(tiny, 0)).real
    tiny.game.judge(real)
    with pytest.raises(AssertionError, match=r"does not come through Game\.outputs"):
        tiny.game.discriminator(real.images)
    with pytest.raises(AssertionError, match=r"does not come through Game\.generate"):
        tiny.game.generator(torch.zeros(2, 128))


PAIRS = ("advlat_div", "label_pairs")
SAMPLERS = [name for name in choices("latent_sampler") if name not in PAIRS]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_labels_reach_the_door(experiment: Build, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    """In each turn the generator is asked for the labels of the real batch, and both are judged under them.

    The discriminator's turns judge real and generated images in one pass.
    """
    tiny = experiment(*TINY, "steps=2", "discriminator_steps=2", f"latent_sampler={sampler}", *QUICK.get(sampler, []))
    asked, judged = doors(monkeypatch)
    batches = [batch.real for step in range(2) for batch in real_batches(tiny, step)]
    list(train(tiny))
    assert len({tuple(batch.labels.tolist()) for batch in batches}) == len(batches) == 6
    assert unrepeated(asked) == [batch.labels.tolist() for batch in batches]
    halves = [labels[: len(labels) // 2] if labels == labels[: len(labels) // 2] * 2 else labels for labels in judged]
    assert unrepeated(halves) == [batch.labels.tolist() for batch in batches]
    assert halves != judged


@pytest.mark.parametrize("sampler", PAIRS)
def test_partners_have_the_label_that_they_are_paired_with(
    experiment: Build, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    tiny = experiment(*TINY, "steps=1", f"latent_sampler={sampler}")
    asked, _ = doors(monkeypatch)
    theirs, ours = (batch.real for batch in real_batches(tiny, 0))
    list(train(tiny))
    first = ours.labels.tolist()[:2]
    assert asked[0] == theirs.labels.tolist()
    assert asked[-1] == first + first
    assert unrepeated(asked[1:-1]) == ([first] if sampler == "advlat_div" else [])


def doors(monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[int]], list[list[int]]]:
    """The labels of everything that is generated and judged from now on."""
    asked: list[list[int]] = []
    judged: list[list[int]] = []
    make, judge = Game.generate, Game.outputs

    def generating(self: Game, latents: Latents) -> Examples:
        asked.append(latents.labels.tolist())
        made = make(self, latents)
        assert torch.equal(made.labels, latents.labels)
        return made

    def judging(self: Game, shown: Examples) -> Outputs:
        judged.append(shown.labels.tolist())
        return judge(self, shown)

    monkeypatch.setattr(Game, "generate", generating)
    monkeypatch.setattr(Game, "outputs", judging)
    return asked, judged


def unrepeated(labels: list[list[int]]) -> list[list[int]]:
    """Without those that follow equal ones: a search asks for the same again and again."""
    return [one for number, one in enumerate(labels) if number == 0 or one != labels[number - 1]]


def test_what_is_scored_is_unlabelled_as_long_as_nobody_asks(
    experiment: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = experiment(*tiny_data("mlp"), "model=mlp")
    asked, _ = doors(monkeypatch)
    generate(tiny.gan, 4, 0, None, torch.float32)
    assert set(asked[0]) == {-1}
