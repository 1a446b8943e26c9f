"""What an estimate says against what steps with values allocate, and against operations that are counted by hand."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.recipes import recipes, row
from gan_cli.commands.estimate import in_bytes, in_flops, in_time, needs_of
from gan_cli.config.build import build_experiment
from gan_cli.config.compose import CONF
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.estimate import Estimate, Storages
from gan_cli.experiment import Experiment
from gan_cli.trainer import train

from .conftest import TINY_MLP, Command

Build = Callable[..., Experiment]
POINTS = [*TINY_MLP, "dataset=grid3", "dataset.points_per_mode=8", "model=mlp", "latent_dim=3"]
FEW_STEPS = ["steps=3"]
NARROW = ["dataset.image_size=32", "model.generator.width=16", "model.discriminator.width=16"]
RUNS = [
    [],
    ["dataset.image_size=32", "engine.precision=bfloat16"],
    ["model=resnet", *NARROW, "regularizer=gradient_penalty", "batch_size=16"],
    ["objective=realness", "latent_sampler=advlat_qua", "regularizer=[r1,vat]", "batch_size=128"],
    ["model=cnn", *NARROW, "regularizer=spectral_norm", "discriminator_steps=2"],
    ["model=dcgan_classic", *NARROW, "conditioning=projection", "regularizer.r1.every=2"],
    ["experiment=classifier", "model=conv_large", "model.discriminator.width=32", "dataset.image_size=32"],
]


def estimate(*overrides: str) -> Estimate:
    return needs_of(config_of(overrides)).estimate


def allocated(*overrides: str) -> int:
    """The most bytes of tensors at any time of a run, from torch's profiler of allocations."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        for _ in train(build_experiment(config_of(overrides), Engine())):
            pass
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def stored(*overrides: str) -> int:
    """The same, from the storages of the tensors that operations return."""
    with Storages() as storages:
        for _ in train(build_experiment(config_of(overrides), Engine())):
            pass
    return storages.peak


@pytest.mark.slow
@pytest.mark.parametrize("overrides", RUNS, ids=" ".join)
def test_memory_is_what_steps_allocate(overrides: list[str]) -> None:
    """Within 10 %, beside the data, in two measures of which one knows nothing of tensors."""
    needs = needs_of(config_of([*overrides, *FEW_STEPS]))
    whole = needs.estimate.memory + needs.experiment.training_set.values.nbytes
    assert whole == pytest.approx(stored(*overrides, *FEW_STEPS), rel=0.1)
    assert whole == pytest.approx(allocated(*overrides, *FEW_STEPS), rel=0.1)


def test_storages_are_counted_once_and_while_they_are_there() -> None:
    with Storages() as storages:
        first = torch.zeros(256)  # of 4 bytes each
        view = first[:128].view(2, 64)
        assert storages.bytes == 1024
        second = view + 1
        assert storages.bytes == 1024 + 512
        del first
        assert storages.bytes == 1024 + 512
        del view
        assert storages.bytes == 512
        second.add_(1)
    assert (storages.bytes, storages.peak) == (512, 1536)


def test_flops_are_those_of_the_matrix_products() -> None:
    """Of batches of 4: 3 -> 8 -> 2 in the generator, 2 -> 8 -> 1 in the discriminator."""
    batch, generator, first, last = 4, [3 * 8, 8 * 2], 2 * 8, 8 * 1
    forward, discriminator = sum(generator), first + last
    of_discriminator = forward + 2 * discriminator + 2 * (discriminator + last)  # back to weights, and to hidden units
    of_generator = forward + discriminator + discriminator + (forward + generator[1])  # back through both
    found = estimate(*POINTS, "regularizer=none", "objective=wgan_gp", "~regularizer.gradient_penalty")
    assert found.flops == 2 * batch * (of_discriminator + of_generator)
    assert found.parameters == {"discriminator": discriminator + 8 + 1, "generator": forward + 8 + 2}


@pytest.mark.slow
def test_a_lazy_regularizer_counts_in_its_share_of_the_steps_and_in_the_worst_step() -> None:
    none, always, every_fourth = (
        estimate(*POINTS, "steps=9", regularizer, *more)
        for regularizer, *more in (
            ["regularizer=none"],
            ["regularizer=r1"],
            ["regularizer=r1", "regularizer.r1.every=4"],
        )
    )
    assert none.flops < always.flops
    assert every_fourth.flops == none.flops + (always.flops - none.flops) / 4
    assert none.step < always.step
    assert every_fourth.step == always.step


@pytest.mark.slow
def test_several_turns_a_step_count_as_often(experiment: Build) -> None:
    one, three = (
        estimate(*POINTS, "regularizer=r1", f"regularizer.r1.every={every}", f"discriminator_steps={turns}", "steps=9")
        for every, turns in ((3, 1), (2, 3))
    )
    plain = [estimate(*POINTS, "regularizer=none", f"discriminator_steps={turns}") for turns in (1, 3)]
    penalty = (one.flops - plain[0].flops) * 3
    assert three.flops == pytest.approx(plain[1].flops + penalty * 3 / 2)


@pytest.mark.slow
def test_bfloat16_needs_less() -> None:
    half, full = (estimate("dataset.image_size=32", f"engine.precision={each}") for each in ("bfloat16", "float32"))
    assert half.weights == full.weights
    assert half.step < full.step


@pytest.mark.slow
def test_an_estimate_leaves_nothing_behind(experiment: Build) -> None:
    """Also where an objective keeps tensors from step to step."""
    words = [*POINTS, "objective=realness", "objective.anchors=fixed"]
    before, _, after = (
        [step.terms.tolist() for step in train(experiment(*words))],
        estimate(*words),
        [step.terms.tolist() for step in train(experiment(*words))],
    )
    assert before == after


def test_functions_that_keep_tensors_forget_them_too() -> None:
    """They are `kept`: an estimate would leave tensors without values in another cache."""
    found = [
        f"{path.stem}.{node.name}"
        for path in (CONF.parent / "gan_cli").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.returns is not None and "Tensor" in ast.unparse(node.returns)
        if any(re.search(r"\b(lru_)?cache\b", ast.unparse(decorator)) for decorator in node.decorator_list)
    ]
    assert found == ["seeding.epoch_order"]  # rows, which an estimate draws none of


def test_the_command_says_what_a_run_needs_and_writes_nothing(command: Command, tmp_path: Path) -> None:
    code, printed, errors = command("train", "estimate=true", "steps=4001", "run_dir=mine")
    assert (code, errors) == (0, "")
    lines = {line.split()[0]: line for line in printed.splitlines()}
    assert list(lines) == ["steps", "data", "parameters", "memory", "FLOPs", "evaluations"]
    assert "4,001 of 64 real images: 256,064 in all" in lines["steps"]
    assert "discriminator 34,305, generator 164,544" in lines["parameters"]
    assert "5, each of 1,797 generated images" in lines["evaluations"]
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.slow
def test_steps_are_measured_if_asked_for(command: Command, tmp_path: Path) -> None:
    code, printed, _ = command("train", *POINTS, "estimate=measured", "device=cpu")
    assert code == 0
    assert "10 steps took" in printed
    assert "generating the images to score" in printed
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.slow
def test_passes_of_a_latent_sampler_are_said(command: Command) -> None:
    words = ["latent_sampler=ddls", "latent_sampler.steps=7", "num_eval_images=100"]
    code, printed, _ = command("train", *POINTS, "estimate=true", *words)
    assert code == 0
    assert "each of 100 generated images and at least 700 passes of both networks before them" in printed


@pytest.mark.slow
def test_data_that_is_missing_is_assumed(command: Command) -> None:
    code, printed, _ = command("train", "estimate=true", "dataset=cifar10", "model.generator.width=8")
    assert code == 0
    assert "50,000 images of 3 x 32 x 32, 146.5 MiB; assumed: their number, and 10 classes, as" in printed
    assert "CIFAR10 is not in" in printed


def test_a_run_that_goes_on_has_no_estimate(command: Command) -> None:
    code, _, errors = command("train", "estimate=true", "resume=outputs")
    assert (code, errors) == (2, "gan-train: resume continues a run as it was started: remove estimate=true\n")


@pytest.mark.slow
def test_a_recipe_of_1024_pixels_has_a_row() -> None:
    assert "realness_ffhq1024" in recipes()
    assert row("realness_ffhq1024").startswith("| `realness_ffhq1024` | 48.1 M / 48.9 M |")


def test_units() -> None:
    assert (in_bytes(3 * 2**19), in_bytes(3 * 2**30)) == ("1.5 MiB", "3.0 GiB")
    assert [in_flops(count) for count in (0.0, 5e8, 1.5e9, 2e13, 3.25e20)] == [
        "0 GFLOP", "0.5 GFLOP", "1.5 GFLOP", "20 TFLOP", "325 EFLOP",
    ]  # fmt: skip
    assert [in_time(seconds) for seconds in (0.123, 99.0, 200.0, 7200.0)] == ["0.12 s", "99 s", "3 min", "2.0 h"]
