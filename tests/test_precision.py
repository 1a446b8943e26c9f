"""Training in a lower precision: what is computed in it, what never is, and what says so."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan_cli.config.read import config_of
from gan_cli.engine import Engine, EngineSettings, multiply_in_tf32
from gan_cli.errors import UserError
from gan_cli.experiment import Experiment
from gan_cli.leaderboard.results import of_the_method
from gan_cli.trainer import train
from gan_cli.turns import Batch

from .conftest import TINY, Command

Build = Callable[..., Experiment]
HALF = "engine.precision=bfloat16"
POINTS = ["model=mlp", "dataset=grid3", "dataset.points_per_mode=8", "batch_size=4", "steps=2", "num_eval_images=16"]
POINTS += ["model.generator.hidden=[8]", "model.discriminator.hidden=[8]", "device=cpu", "run_dir=run"]


class Seen:
    """The types of what every layer of a network returns, for each pass that `inside` was true in."""

    def __init__(self, network: nn.Module) -> None:
        self.types: dict[str, list[torch.dtype]] = {}
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(self.noting(name))

    def noting(self, name: str) -> Any:
        return lambda layer, inputs, output: self.types.setdefault(name, []).append(output.dtype)


@pytest.mark.parametrize("labels", ["none", "projection", "auxiliary", "d2d_ce"])
def test_layers_compute_in_half_precision_and_heads_losses_and_gradients_do_not(experiment: Build, labels: str) -> None:
    tiny = experiment(*TINY, HALF, "regularizer=none", f"discriminator_labels={labels}", "steps=1")
    seen = Seen(tiny.game.discriminator)
    (step,) = train(tiny)
    heads = {name: types for name, types in seen.types.items() if name.endswith(("logits", "classes", "embedded"))}
    assert len(heads) == (2 if labels in ("auxiliary", "d2d_ce") else 1)
    assert all(set(types) == {torch.float32} for types in heads.values())
    assert all(set(types) == {torch.bfloat16} for name, types in seen.types.items() if name not in heads)
    assert step.turn.fake_logits.dtype == torch.float32
    losses = [loss for terms in step.losses.values() for loss in terms.values()]
    assert {loss.dtype for loss in losses} == {torch.float32}
    for player in tiny.players:
        assert {weight.dtype for weight in player.network.parameters()} == {torch.float32}
        assert {weight.grad.dtype for weight in player.network.parameters() if weight.grad is not None} == {
            torch.float32
        }


@pytest.mark.slow
@pytest.mark.parametrize("regularizer", ["r1", "gradient_penalty", "vat"])
def test_penalties_pass_images_in_single_precision(experiment: Build, regularizer: str) -> None:
    """The term of a network without rounding is that of a run in float32 on the same images, to the last bit."""
    terms = []
    for settings in ([], [HALF]):
        tiny = experiment(*TINY, *settings, f"regularizer={regularizer}")
        torch.manual_seed(0)
        real = tiny.training_set.batch(torch.arange(4))
        turn = tiny.players[0].play(tiny.rules, Batch(real, real), 1, 0).turn
        turn = replace(turn, fake=real.with_images(real.images.flip(0)))  # made in no precision
        torch.manual_seed(1)
        terms.append(tiny.bounds[regularizer].term(tiny.game, turn, name=regularizer, number=1, step=0))
    assert terms[0] is not None
    assert terms[1] is not None
    assert torch.equal(terms[0], terms[1])
    assert terms[0] != 0


def test_evaluation_is_in_single_precision(experiment: Build) -> None:
    tiny = experiment(*TINY, HALF)
    seen = Seen(tiny.game.discriminator)
    with tiny.gan.at_rest() as game:
        game.judge(tiny.training_set.batch(torch.arange(4)))
    assert game.engine.precision == "float32"
    assert {each for types in seen.types.values() for each in types} == {torch.float32}
    assert tiny.game.engine.precision == "bfloat16"


def test_losses_are_close_to_those_of_single_precision_and_not_the_same(experiment: Build) -> None:
    found = []
    for settings in ([], [HALF]):
        losses = [step.losses for step in train(experiment(*TINY, *settings, "steps=3", "batch_size=16"))]
        found.append([loss.item() for terms in losses for player in terms.values() for loss in player.values()])
    assert found[0] == pytest.approx(found[1], rel=0.05, abs=0.02)
    assert found[0] != found[1]


@pytest.mark.slow
def test_a_run_says_its_precision_and_keeps_it(command: Command) -> None:
    """In config, protocol and the method of its row in a table; a run that is continued has no other."""
    code, _, err = command("train", *POINTS, HALF)
    assert code == 0, err
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["config"]["engine"]["precision"] == "bfloat16"
    assert summary["protocol"]["training_precision"] == "bfloat16"
    assert of_the_method(summary["config"])["engine.precision"] == "bfloat16"
    code, printed, _ = command("eval", "run", "device=cpu")
    assert json.loads(printed)["protocol"]["training_precision"] == "bfloat16"
    assert code == 0
    code, _, err = command("train", "resume=run", "steps=4", "engine.precision=float32")
    assert code == 2
    assert "remove engine.precision=float32" in err
    assert command("train", "resume=run", "steps=4", "device=cpu")[0] == 0
    assert json.loads(Path("run/summary.json").read_text())["protocol"]["training_precision"] == "bfloat16"


@pytest.mark.slow
def test_single_precision_is_not_named_so_that_tables_hold_earlier_runs(command: Command) -> None:
    assert command("train", *POINTS)[0] == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert "training_precision" not in summary["protocol"]
    assert "engine.precision" not in of_the_method(summary["config"])


@pytest.mark.parametrize(
    ("override", "refusal"),
    [
        ("engine.precision=bf16", "engine.precision=bf16 must be one of float32, tf32, bfloat16: did you mean"),
        ("engine.precision=tf32", "engine.precision=tf32 needs a GPU"),
        ("engine.precison=tf32", "unknown key 'engine.precison': did you mean engine.precision?"),
        ("engine=fast", "engine=fast must be a mapping"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(command: Command, override: str, refusal: str) -> None:
    code, _, err = command("train", *POINTS, override)
    assert code in (1, 2)
    assert refusal in err
    assert err.count("\n") == 1
    assert not Path("run").exists()


def test_only_training_may_round_what_is_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU; the setting is the process's, so it is put back around everything that is not a step."""
    said: list[bool] = []
    monkeypatch.setattr("gan_cli.engine.multiply_in_tf32", said.append)
    engine = Engine(torch.device("cuda")).with_settings(
        EngineSettings(precision="tf32", compile=False, capture=False, sync_batch_norm=False)
    )
    assert said == [False]
    with engine.training():
        assert said == [False, True]
    assert said == [False, True, False]
    with engine.at_rest.training():
        assert said == [False, True, False]
    with pytest.raises(UserError, match="tf32 needs a GPU"):
        Engine().with_settings(EngineSettings(precision="tf32", compile=False, capture=False, sync_batch_norm=False))


def test_what_does_not_change_results_is_not_part_of_a_method() -> None:
    for setting in ("engine.compile=true", "engine.capture=false", "engine.precision=float32"):
        assert of_the_method(config_of([setting])) == of_the_method(config_of([]))
        assert not any(key.startswith("engine.") for key in of_the_method(config_of([setting])))
    assert of_the_method(config_of([HALF])) != of_the_method(config_of([]))


def test_both_of_torchs_switches_agree() -> None:
    """An error in one of them would end a run that reads the other."""
    try:
        for allowed in (True, False):
            multiply_in_tf32(allowed)
            assert torch.backends.cuda.matmul.allow_tf32 is allowed
            assert torch.backends.cudnn.allow_tf32 is allowed
            assert (torch.backends.cuda.matmul.fp32_precision == "tf32") is allowed
            assert (torch.backends.cudnn.conv.fp32_precision == "tf32") is allowed  # type: ignore[attr-defined]
            assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
    finally:
        multiply_in_tf32(False)
        torch.backends.cudnn.allow_tf32 = True
