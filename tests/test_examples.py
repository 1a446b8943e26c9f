"""A user's own code, as docs/extending.md shows it: its formulas, and its commands outside the repository."""

import csv
import html
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import Tensor, nn

from gan_cli import Game, build_experiment, choose_engine, config_of, train
from gan_cli.config.compose import CONF
from gan_cli.errors import UserError
from gan_cli.metrics import Sample
from gan_cli.objectives import Hinge
from gan_cli.shapes import Examples, Latents, Turn, unlabelled
from gan_cli.trackers import Tracked

from .conftest import Command

EXAMPLES = CONF.parent / "examples"
GUIDE = CONF.parent / "docs" / "extending.md"
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the sources are not here")

SHOWN = re.compile(r"^`((?:mine|conf)/[\w./]+)`\n\n```(?:python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^(gan-\w+ .*--config-dir .*)$", re.MULTILINE)


def commands(name: str) -> list[str]:
    text = GUIDE.read_text(encoding="utf-8") if GUIDE.is_file() else ""
    return [command for command in COMMANDS.findall(text) if command.startswith(name)]


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of the examples, which are not on the path otherwise."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:  # of other tests
        monkeypatch.delitem(sys.modules, name)
    return lambda name: import_module(f"mine.{name}")


def test_the_guide_shows_every_file_as_it_is() -> None:
    shown = dict(SHOWN.findall(GUIDE.read_text(encoding="utf-8")))
    there = [path for folder in ("mine", "conf") for path in (EXAMPLES / folder).rglob("*.*") if path.suffix != ".pyc"]
    assert shown == {path.relative_to(EXAMPLES).as_posix(): path.read_text(encoding="utf-8") for path in there}


def test_every_choice_is_in_a_command_of_the_guide() -> None:
    text = "\n".join(commands("gan-"))
    for path in (EXAMPLES / "conf").rglob("*.yaml"):
        assert re.search(rf"\b{path.parent.name}(@[\w.]+)?=\[?([\w,]*,)?{path.stem}\b", text), path


def turn(real: Tensor, fake: Tensor, discriminator: nn.Module) -> tuple[Game, Turn]:
    """A discriminator's turn on these images."""
    game = Game(nn.Identity(), discriminator, Hinge())
    shown, made = (Examples(images, unlabelled(len(images))) for images in (real, fake))
    latents = Latents(torch.zeros(len(fake), 1), made.labels)
    return game, Turn(shown, latents, made, game.outputs(shown), game.outputs(made), shown)


class Total(nn.Module):
    """An image's score is the sum of its pixels, each with a weight of its own."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.weights).flatten(1).sum(1, keepdim=True)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def pixels(*values: float) -> Tensor:
    """Images of one pixel."""
    return torch.tensor(values, dtype=torch.float64)[:, None, None, None]


def test_least_squares_is_its_equation(own: Callable[[str], Any]) -> None:
    objective = own("least_squares").LeastSquares(real_target=1.0)
    real, fake = column(3.0, 1.0), column(0.5, -0.5)
    assert objective.discriminator_loss(real, fake).item() == pytest.approx((4 + 0) / 4 + (0.25 + 0.25) / 4)
    assert objective.generator_loss(None, fake).item() == pytest.approx((0.25 + 2.25) / 4)
    half = column(0.5, 0.5)  # the best prediction where real and generated images cannot be told apart
    best = objective.discriminator_loss(half, half).item()
    assert all(objective.discriminator_loss(half + shift, half + shift).item() > best for shift in (-0.1, 0.1))


class Squares(nn.Module):
    """An image's score is the sum of its squares."""

    def forward(self, images: Tensor) -> Tensor:
        return images.square().flatten(1).sum(1, keepdim=True)


def test_interpolation_is_zero_only_for_a_linear_score(own: Callable[[str], Any]) -> None:
    """Of squares the mixture is s (1 - s) (x - y)^2 short, at the share s: a mean square of (x - y)^4 / 30."""
    torch.manual_seed(0)
    penalty = own("interpolation").Interpolation(weight=1.0, every=1).penalty
    real, fake = pixels(1.0, 3.0).repeat(20_000, 1, 1, 1), pixels(-1.0, 2.0).repeat(20_000, 1, 1, 1)
    assert penalty(*turn(real, fake, Total(torch.ones(1, 1, 1)))).item() == pytest.approx(0, abs=1e-25)
    assert penalty(*turn(real, fake, Squares())).item() == pytest.approx((2**4 + 1**4) / 2 / 30, rel=0.03)


def test_the_gaps_average_moves_and_the_penalty_is_its_distance(own: Callable[[str], Any]) -> None:
    steady = own("steady_gap").SteadyGap(weight=1.0, every=1, decay=0.9).double()
    first = steady.penalty(*turn(pixels(1.0, 3.0), pixels(-1.0, -2.0), Total(torch.ones(1, 1, 1))))
    assert (steady.average.item(), first.item()) == (3.5, 0.0)  # the first batch's
    second = steady.penalty(*turn(pixels(4.0, -4.0), pixels(0.5, 3.5), Total(torch.ones(1, 1, 1))))
    average = 0.9 * 3.5 + 0.1 * -2.0
    assert steady.average.item() == pytest.approx(average)
    assert second.item() == pytest.approx((-2.0 - average) ** 2)
    assert set(steady.state_dict()) == {"average", "started"}


def test_resize_convolutions_make_and_read_what_they_are_asked_for(own: Callable[[str], Any]) -> None:
    module = own("resize_convolution")
    generator = module.Generator(width=4, latent_dim=6, image_shape=(3, 16, 8))
    discriminator = module.Discriminator(width=4, image_shape=(3, 16, 8), num_outcomes=5)
    images = generator(torch.randn(2, 6))
    assert images.shape == (2, 3, 16, 8)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (2, 5)
    assert not any(isinstance(layer, nn.ConvTranspose2d) for layer in generator.modules())


def test_the_sphere_is_a_sphere_and_has_no_preferred_side(own: Callable[[str], Any]) -> None:
    torch.manual_seed(0)
    codes = own("sphere").Sphere(latent_dim=9).sample(20_000, torch.device("cpu"))
    assert torch.allclose(codes.norm(dim=1), torch.tensor(3.0))
    assert torch.allclose(codes.T.cov(), torch.eye(9), atol=0.05)  # as N(0, 1) has it
    assert codes.mean(0).abs().max() < 0.03


def test_coverage_counts_real_images_that_have_a_generated_one_near(own: Callable[[str], Any]) -> None:
    coverage = own("coverage").Coverage(neighbours=1)

    def sample(*places: float) -> Sample:
        features = torch.tensor(places, dtype=torch.float64)[:, None]
        return Sample(torch.zeros(len(places), 1, 1, 1, dtype=torch.uint8), features, features, unlabelled(len(places)))

    real = sample(0.0, 1.0, 10.0, 12.0)  # their nearest others are 1, 1, 2 and 2 away
    assert coverage.measure(real, real) == 1.0
    assert coverage.measure(sample(0.5), real) == 0.5
    assert coverage.measure(sample(11.9), real) == 0.5
    assert coverage.measure(sample(12.5), real) == 0.25
    assert coverage.measure(sample(-1.0), real) == 0.0  # not nearer than the nearest real one
    assert coverage.better == "higher"


def test_restarts_fall_along_a_cosine_again_and_again(own: Callable[[str], Any]) -> None:
    schedule = own("restarts").Restarts(start=1.0, end=0.2, period=8)
    assert [schedule.at(step) for step in (0, 4, 8, 12, 800)] == pytest.approx([1.0, 0.6, 1.0, 0.6, 1.0])
    assert schedule.at(7) == pytest.approx(0.6 + 0.4 * math.cos(math.pi * 7 / 8))
    assert schedule.at(6) > schedule.at(7) > 0.2


def test_translations_move_every_image_and_fill_with_zeros(own: Callable[[str], Any]) -> None:
    torch.manual_seed(0)
    images = (1 + torch.rand(400, 2, 4, 4, dtype=torch.float64)).requires_grad_()
    moved = own("translation").Translation(share=0.25)(images)
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    every = torch.stack([padded[:, :, down : down + 4, right : right + 4] for down in range(3) for right in range(3)])
    which = (moved == every).flatten(2).all(2)
    assert (which.sum(0) == 1).all()
    assert which.any(1).all()
    (gradient,) = torch.autograd.grad(moved.sum(), images)
    assert torch.equal(gradient.sum((1, 2, 3)), (moved != 0).double().sum((1, 2, 3)))


def test_the_table_has_a_row_for_every_number_of_every_run(own: Callable[[str], Any], tmp_path: Path) -> None:
    for name in ("one", "other"):
        table = own("table").Table(path=str(tmp_path / "numbers.csv"))
        table.start(Tracked(folder=tmp_path / name, id=name, group=None, config={}, resumed=False))
        table.log(10, {"losses/generator/adversarial": 0.5, "metrics/fid": 3.0})
        table.finish({"step": 20, "status": "completed"})
    rows = list(csv.reader((tmp_path / "numbers.csv").read_text().splitlines()))
    assert rows[:3] == [
        ["one", "10", "losses/generator/adversarial", "0.5"],
        ["one", "10", "metrics/fid", "3.0"],
        ["one", "20", "status", "completed"],
    ]
    assert [row[0] for row in rows] == ["one"] * 3 + ["other"] * 3


def test_an_array_is_a_data_set(own: Callable[[str], Any], tmp_path: Path) -> None:
    saved = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", saved)
    training_set = own("numpy_file").NumpyFile(root=str(tmp_path / "images.npy"), image_size=6, metrics=None).load()
    assert training_set.image_shape == (3, 6, 6)
    assert torch.equal(training_set.values, torch.from_numpy(saved).permute(0, 3, 1, 2))
    batch = training_set.batch(torch.tensor([3]))
    assert batch.images[0, 2, 4, 1].item() == pytest.approx(saved[3, 4, 1, 2] / 127.5 - 1, abs=1e-6)


def test_a_picture_has_a_point_for_each_run_and_a_colour_for_each_method(own: Callable[[str], Any]) -> None:
    scatter = own("scatter")

    def row(method: str, *points: tuple[float, float]) -> SimpleNamespace:
        runs = [SimpleNamespace(scores={scatter.X: x, scatter.Y: y}) for x, y in points]
        return SimpleNamespace(method=method, completed=runs)

    board = SimpleNamespace(rows=[row("one", (0.1, 0.9), (0.2, 0.8)), row("other", (0.5, 0.5)), row("lost")])
    (axes,) = scatter.variety_and_quality(board).axes
    drawn = {points.get_label(): points.get_offsets().tolist() for points in axes.collections}
    assert drawn == {"one": [[0.1, 0.9], [0.2, 0.8]], "other": [[0.5, 0.5]], "lost": []}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall_digits_v2", "precision_digits_v2")


TOGETHER = [
    "objective=least_squares",
    "regularizer=[interpolation,steady_gap]",
    "model=resize_convolution",
    "latent_sampler=sphere",
    "augmentation=translation",
    "experiment=restarts",
    "metrics@dataset.metrics=digits_and_coverage",
]


def test_all_of_it_trains_together(own: Callable[[str], Any]) -> None:
    small = ["steps=4", "batch_size=4", "model.generator.width=4", "model.discriminator.width=4", "num_eval_images=20"]
    small += ["generator_optimizer.lr.period=2"]
    experiment = build_experiment(config_of([*TOGETHER, *small], EXAMPLES / "conf"), choose_engine("cpu"))
    before = next(experiment.gan.game.generator.parameters()).clone()
    rates = []
    for step in train(experiment):
        assert set(step.losses["discriminator"]) == {"adversarial", "interpolation", "steady_gap"}
        rates += [player.optimizer.param_groups[0]["lr"] for player in experiment.players]
    assert rates == pytest.approx([2e-3, 2e-3, 1.05e-3, 1.05e-3] * 2)
    assert not torch.equal(before, next(experiment.gan.game.generator.parameters()))
    assert experiment.parts()["regularizer.steady_gap"].state_dict()["started"] == 1


RESTARTS = "{_target_: mine.restarts.Restarts, start: 0.9, end: 0.5, period: 4}"


def test_a_schedule_of_ones_own_is_taken_wherever_a_number_may_change(own: Callable[[str], Any]) -> None:
    places = ["ema_decay", "regularizer.r1.weight", "generator_optimizer.lr"]
    small = ["batch_size=4", "model.generator.width=4", "model.discriminator.width=4"]
    config = config_of([*small, *(f"{place}={RESTARTS}" for place in places)])
    experiment = build_experiment(config, choose_engine("cpu"))
    restarts = own("restarts").Restarts(start=0.9, end=0.5, period=4)
    assert experiment.settings.ema_decay == restarts
    assert vars(experiment.bounds["r1"])["weight"] == restarts
    (generator,) = (player for player in experiment.players if player.name == "generator")
    assert [(key, value) for _, key, value in generator.schedules] == [("lr", restarts)]
    generator.set_schedules(2)
    assert generator.optimizer.param_groups[0]["lr"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ema_decay=" + RESTARTS.replace("0.9", "1.0"), "ema_decay=1.0 must be below 1.0"),
        ("generator_optimizer.lr=" + RESTARTS.replace("4", "0"), "generator_optimizer.lr: integer modulo by zero"),
        ("generator_optimizer.lr=" + RESTARTS.replace("period", "steps"), "generator_optimizer.lr.period is missing"),
        ("generator_optimizer.lr=" + RESTARTS.replace("4", "many"), "lr.period=many must be an integer"),
        ("generator_optimizer.lr={_target_: gan_cli.objectives.Hinge}", "is not a Schedule"),
        ("ema_decay={_target_: gan_cli.objectives.Hinge}", "is not a Schedule"),
        ("steps=" + RESTARTS, "must be an integer"),
    ],
)
def test_a_wrong_schedule_of_ones_own_is_one_line(own: Callable[[str], Any], override: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        config_of([override])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).count(message) == 1


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("", "dataset.metrics is missing: add - /metrics@metrics: <choice> to the defaults of its YAML"),
        ("metrics: digits", "or add - /metrics@metrics: <choice> to the defaults of its YAML"),
    ],
)
def test_a_data_set_without_metrics_says_how_to_name_them(tmp_path: Path, metrics: str, message: str) -> None:
    (tmp_path / "dataset").mkdir()
    named = f"_target_: gan_cli.datasets.Digits\nimage_size: 16\n{metrics}\n"
    (tmp_path / "dataset" / "own.yaml").write_text(named)
    with pytest.raises(UserError, match=re.escape(message)):
        config_of(["dataset=own"], tmp_path)


@pytest.mark.parametrize("name", ["train", "eval"])
def test_metrics_for_a_data_set_without_their_line_are_answered_with_it(
    name: str, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "own.yaml").write_text("_target_: gan_cli.datasets.Digits\nimage_size: 16\n")
    code, _, err = command(name, f"--config-dir={tmp_path}", "dataset=own", "metrics@dataset.metrics=digits")
    assert code == 1
    said = (
        "dataset=own has no place for metrics@dataset.metrics: add - /metrics@metrics: <choice> to the defaults of its"
    )
    assert err == f"gan-{name}: {said} YAML\n"


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user's, with the code and its choices, and nothing of this repository."""
    shutil.copytree(EXAMPLES / "mine", tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(EXAMPLES / "conf", tmp_path / "conf")
    digits = load_digits().images / 16 * 255
    np.save(tmp_path / "images.npy", digits.round().astype(np.uint8)[:, :, :, None])
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("command", commands("gan-train"))
def test_it_trains_resumes_and_is_scored_and_sampled_outside_the_repository(outside: Path, command: str) -> None:
    run(outside, *shlex.split(command), "debug=fast", "run_dir=whole")
    shutil.copytree(outside / "whole", outside / "half")
    shutil.rmtree(outside / "half" / "checkpoints" / "step-00000020")
    run(outside, "gan-train", "resume=half", "trust=mine")
    whole, half = (
        load_file(outside / name / "checkpoints" / "step-00000020" / "state.safetensors") for name in ("whole", "half")
    )
    assert whole.keys() == half.keys()
    assert all(torch.equal(whole[name], half[name]) for name in whole)
    scored = json.loads(run(outside, "gan-eval", "checkpoint=whole", "trust=mine").stdout)
    last = json.loads((outside / "whole" / "summary.json").read_text())["metrics"]["last"]
    assert scored["metrics"] == pytest.approx(last)
    run(outside, "gan-sample", "checkpoint=whole", "trust=mine", "num_images=3", "out=images")
    assert len(list((outside / "images").rglob("*.png"))) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("command", commands("gan-sweep"))
def test_a_study_of_ones_own_draws_its_picture(outside: Path, command: str) -> None:
    few = ["debug=fast", "seed=0", "sweep_dir=sweep", "objective=least_squares", "regularizer.steady_gap.weight=0,1"]
    run(outside, *shlex.split(command), *few)
    drawn = outside / "sweep" / "study.png"
    before = drawn.read_bytes()
    drawn.unlink()
    run(outside, "gan-report", "sweep", "trust=mine")
    assert drawn.read_bytes() == before
    assert f"<dd>{html.escape(command)} {' '.join(few)}</dd>" in (outside / "sweep" / "report.html").read_text()
    jobs = json.loads((outside / "sweep" / "sweep.json").read_text())["jobs"]
    assert len(jobs) == 2
