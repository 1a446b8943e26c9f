"""Trainings that are lost for real: each is found, within its window, and only then."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.commands.train import train as gan_train
from gan_cli.config.build import build
from gan_cli.config.read import config_of, read_config
from gan_cli.engine import Copy, Engine
from gan_cli.errors import CollapsedError, DivergedError, LostError
from gan_cli.experiment import Experiment
from gan_cli.iteration import Step
from gan_cli.objectives import Objective
from gan_cli.regularizers.r1 import R1
from gan_cli.runs import run as runner
from gan_cli.runs.checkpoint import complete, named
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.health import SYMPTOMS, Health
from gan_cli.trainer import Watch, train

from ..conftest import composed_config
from ..pairwise import every_third_quick

SMALL = [
    *("dataset=ring", "dataset.points_per_mode=50", "model=mlp", "batch_size=8", "num_eval_images=64", "latent_dim=2"),
    *("model.generator.hidden=[8]", "model.discriminator.hidden=[8]", "evaluate_every=0", "sample_every=0"),
    *("checkpoint_every=0", "device=cpu"),
]
DEEP = ["model.generator.hidden=[8,8,8,8]", "model.discriminator.hidden=[8,8,8,8]"]
LOST = {
    "explosion": [
        *("steps=120", *DEEP, "objective=wgan", "~regularizer.weight_clipping", "discriminator_optimizer.lr=1"),
    ],
    "constant losses": ["steps=260", "regularizer=none", "generator_optimizer.lr=1", "discriminator_optimizer.lr=1"],
    "constant generator": ["steps=520", "generator_optimizer.lr=1", "model.generator.bounded=true"],
    "discriminator has won": [
        *("steps=1300", "regularizer=none", "discriminator_optimizer.lr=3e-2", "generator_optimizer.lr=1e-7"),
    ],
}
LONG = ("constant generator", "constant losses", "discriminator has won")
LASTING = {symptom.name: symptom for symptom in SYMPTOMS}


def train_in(folder: Path, *more: str) -> None:
    """What gan-train run_dir=<folder> does."""
    overrides = [*SMALL, *more, f"run_dir={folder}"]
    config, options = read_config(composed_config(*overrides))
    gan_train(config, options, overrides, "", "test")


def lost_in(folder: Path, *more: str) -> tuple[LostError, list[str]]:
    """The error that ends the run, and what was said before."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(LostError) as end:
            train_in(folder, *more)
    return end.value, [str(one.message) for one in said]


OF_THE_PROCESS = {"cost": {}, "overrides": [], "started": "", "ended": "", "sessions": []}


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in LOST])
def test_what_is_lost_is_found_within_its_window(name: str, tmp_path: Path) -> None:
    error, said = lost_in(tmp_path, *LOST[name])
    symptom, summary = LASTING[name], summary_of(tmp_path)
    assert (summary["status"], error.status, error.code) == (symptom.status, symptom.status, 1)
    assert summary["step"] == int(LOST[name][0].partition("=")[2]), "it goes on to the end"
    assert str(error) == f"{summary['error']}; see {tmp_path / 'diagnosis.png'}"
    assert summary["error"].startswith(f"{symptom.status}: {name} from step ")
    assert f"{symptom.status}: {summary['warnings'][0]}" == summary["error"]
    first = int(summary["error"].partition("from step ")[2].partition(":")[0])
    assert f"at step {first + symptom.window}: {summary['warnings'][0]}" in said
    assert (tmp_path / "diagnosis.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["stdgan", "wgan"])
def test_what_is_not_lost_is_not_found(objective: str, tmp_path: Path) -> None:
    train_in(tmp_path, "steps=600", f"objective={objective}")
    summary = summary_of(tmp_path)
    assert (summary["status"], summary["warnings"], summary["error"]) == ("completed", [], "")
    assert not (tmp_path / "diagnosis.png").exists()
    spread = [record["spread"] for record in RunFolder(tmp_path).records() if "losses" in record]
    assert len(spread) == 60
    assert min(spread) > 0.02


@pytest.mark.slow
def test_stopping_saves_where_it_was_found_and_goes_no_further(tmp_path: Path) -> None:
    error, _ = lost_in(tmp_path, *LOST["constant losses"], "on_divergence=stop", "checkpoint_every=100")
    summary = summary_of(tmp_path)
    assert isinstance(error, CollapsedError)
    assert (summary["status"], summary["step"]) == ("collapsed", 240)
    assert [folder.name for folder in complete(tmp_path / "checkpoints")] == ["step-00000200", "step-00000240"]
    with pytest.MonkeyPatch.context() as patch:  # the same command again
        patch.setattr(runner, "train", lambda *args: pytest.fail("it trained on"))
        again, said = lost_in(tmp_path, *LOST["constant losses"], "on_divergence=stop", "checkpoint_every=100")
    assert (str(again), said) == (str(error), [])
    assert summary_of(tmp_path) | OF_THE_PROCESS == summary | OF_THE_PROCESS


@pytest.mark.slow
def test_scores_of_a_lost_training_are_never_the_best(tmp_path: Path) -> None:
    lost_in(tmp_path, *LOST["constant losses"], "evaluate_every=50")
    scored = {record["step"]: record.get("lost") for record in RunFolder(tmp_path).records() if "metrics" in record}
    assert scored == {50: None, 100: None, 150: None, 200: None, 250: "collapsed", 260: "collapsed"}
    best = summary_of(tmp_path)["metrics"]["best_step"]
    assert best <= 200
    assert named(tmp_path / "checkpoints", "best") == tmp_path / "checkpoints" / f"step-{best:08d}"


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def kill(patch: pytest.MonkeyPatch, step: int) -> None:
    def dying(experiment: Experiment, first_step: int) -> Iterator[Step]:
        for done in train(experiment, first_step):
            yield done
            if done.number == step:
                raise Killed

    patch.setattr(runner, "train", dying)
    patch.setattr(runner.Run, "finish", lambda self, status, error: None)


@pytest.mark.filterwarnings("ignore:at step")
@pytest.mark.slow
@pytest.mark.parametrize("step", [155, 250])
def test_a_continued_run_finds_what_an_undisturbed_one_does(step: int, tmp_path: Path) -> None:
    settings = [*LOST["constant losses"], "checkpoint_every=50", "evaluate_every=130"]
    lost_in(tmp_path / "whole", *settings)
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, step)
        with pytest.raises(Killed):
            train_in(tmp_path / "run", *settings)
    lost_in(tmp_path / "run", *settings)
    whole, run = (summary_of(tmp_path / name) | OF_THE_PROCESS for name in ("whole", "run"))
    assert whole == run
    records = [RunFolder(tmp_path / name).records() for name in ("whole", "run")]
    for record in records[0] + records[1]:
        for measured in ("seconds", "scoring_seconds", "sampling"):
            record.pop(measured, None)
    assert records[0] == records[1]
    assert records[0][-1]["lost"] == "collapsed"
    pictures = [(tmp_path / name / "diagnosis.png").read_bytes() for name in ("whole", "run")]
    assert pictures[0] == pictures[1]


def test_what_passes_is_a_warning(tmp_path: Path) -> None:
    health = Health(objective_of("stdgan"))
    for step in range(10, 1000, 10):
        health.see(record(step, spread=0.001 if 100 <= step <= 700 else 0.5))
    assert health.lost is None
    assert health.warnings() == [
        "constant generator from step 100 to 700: generated images vary by less than 1 % of what real ones do"
    ]


def objective_of(*overrides: str) -> Objective:
    objective: Objective = build("objective", config_of([f"objective={overrides[0]}", *overrides[1:]])["objective"])
    return objective


def record(step: int, *, spread: float = 0.5, loss: float = 1.0, fake: float = 0.1) -> dict[str, Any]:
    """One that shows nothing, but for what is given."""
    noise = 1 + step % 7 / 1000
    return {
        "step": step,
        "losses": {"discriminator": {"adversarial": loss * noise}, "generator": {"adversarial": 0.7 * noise}},
        "scores": {"real": 0.2, "fake": fake},
        "spread": spread,
    }


@pytest.mark.parametrize("log_every", [1, 10, 100, 1000])
def test_windows_count_steps_not_records(log_every: int) -> None:
    health = Health(objective_of("stdgan"))
    found = [step for step in range(log_every, 3001, log_every) for _ in health.see(record(step, spread=0.0))]
    assert found == [-(-500 // log_every) * log_every + log_every]


@pytest.mark.parametrize(
    ("objective", "perfect"),
    every_third_quick(
        [
            (("stdgan",), 0.0),
            (("stdgan", "objective.real_target=0.9"), 0.325083),
            (("lsgan",), 0.0),
            (("hinge",), 0.0),
            (("relativistic",), 0.0),
            (("wgan",), None),
            (("fgan", "objective.divergence=kl"), None),
            (("fgan", "objective.divergence=gan"), 0.0),
            (("fgan", "objective.divergence=squared_hellinger"), -2.0),
            (("fgan", "objective.divergence=total_variation"), -1.0),
            (("fgan", "objective.divergence=jensen_shannon"), -1.386294),
        ]
    ),
)
def test_a_discriminator_wins_only_where_its_loss_has_a_limit(
    objective: tuple[str, ...], perfect: float | None
) -> None:
    """The limit is the loss of outputs far apart, as far as the objective wants them."""
    rules = objective_of(*objective)
    assert rules.perfect_loss() == (None if perfect is None else pytest.approx(perfect, abs=1e-6))
    if perfect is None:
        return
    outputs = torch.linspace(-60, 60, 2401, dtype=torch.float64)[:, None, None]
    least = min(rules.discriminator_loss(real, fake).item() for real in outputs for fake in outputs[[0, 1200]])
    assert least == pytest.approx(perfect, abs=1e-4)
    health, equilibrium = Health(rules), rules.equilibrium_loss()
    assert equilibrium is not None
    for share, won in ((0.02, False), (0.005, True)):
        for step in range(10, 1200, 10):
            seen = record(step)
            seen["losses"]["discriminator"]["adversarial"] = perfect + share * (equilibrium - perfect)
            health.see(seen)
        assert (health.lost is not None) == won


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_a_loss_that_is_not_finite_is_seen_in_its_step(step: int, tmp_path: Path) -> None:
    """Also in a turn whose losses are not logged, long before the next record."""
    penalty, calls = R1.penalty, []

    def failing(self: R1, game: Any, turn: Any) -> Any:
        calls.append(1)
        return penalty(self, game, turn) * (float("nan") if len(calls) == 3 * step - 2 else 1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(R1, "penalty", failing)
        error, _ = lost_in(tmp_path, "steps=50", "log_every=1000", "discriminator_steps=3")
    assert isinstance(error, DivergedError)
    assert f"diverged: the discriminator's r1 loss is nan at step {step}; see" in str(error)
    assert len(calls) == 3 * step
    summary = summary_of(tmp_path)
    assert (summary["status"], summary["step"]) == ("diverged", step - 1)
    assert (tmp_path / "diagnosis.png").is_file()


@dataclass(frozen=True)
class Behind(Engine):
    """Its copies arrive two steps later, as those of a GPU may."""

    now: list[int] = field(default_factory=list)

    def copy_to_host(self, values: torch.Tensor) -> Copy:
        sent = self.now[-1]
        return Copy(values, lambda: self.now[-1] >= sent + 2)


def test_a_device_that_is_behind_is_not_waited_for() -> None:
    engine, names = Behind(), [("discriminator", "adversarial"), ("generator", "adversarial")]
    watch = Watch(engine)

    def look(step: int) -> None:
        engine.now.append(step)
        watch.look(step, names, torch.tensor([0.0, float("inf") if step >= 5 else 1.0]))

    for step in range(1, 7):
        look(step)
    with pytest.raises(DivergedError, match="the generator's adversarial loss is inf at step 5"):
        look(7)
