"""Training, scoring, resuming and evaluating on a device that refuses what an accelerator refuses or waits for."""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.capture import CaptureError
from gan_cli.game import Game, Turn
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Loss

from . import accelerator
from .conftest import A_CLASSIFIER, A_GENERATOR_ALONE, TINY, TINY_MLP
from .pairwise import pairs
from .test_door import QUICK, choices

OnDevice = Callable[..., Any]
ALONE = ("classification", "gradient_normalization", "drifting")
OBJECTIVES = [name for name in choices("objective") if name not in ALONE]
OF_ONE_METHOD = ("latent_distance", "unit_direction", "path_length")  # below
REGULARIZERS = [name for name in choices("regularizer") if name not in OF_ONE_METHOD]
SAMPLERS = [name for name in choices("latent_sampler") if name not in QUICK]
MODELS = {
    "mlp": ["model=mlp", "model.generator.batch_norm=true", *TINY_MLP, "dataset=grid3", "dataset.points_per_mode=8"],
    "mlp_maxout": ["model=mlp_maxout", *TINY_MLP, "dataset=grid3", "dataset.points_per_mode=8"],
    **{
        name: [f"model={name}", *TINY, f"dataset.image_size={16 if name == 'dcgan' else 32}"]
        for name in ("dcgan", "dcgan_classic", "cnn", "cdcgan", "resnet")
    },
}
LABELS = {  # what a regularizer's class logits or embeddings are from
    **dict.fromkeys(("classification", "generator_classification", "entropy_minimisation"), "auxiliary"),
    **dict.fromkeys(("contrastive", "generator_contrastive"), "contrastive"),
    **dict.fromkeys(("d2d_ce", "generator_d2d_ce"), "d2d_ce"),
}


class Fault(Regularizer):
    """A penalty with a line that an accelerator refuses or waits for."""

    player = "discriminator"


class MeetsAnotherDevice(Fault):
    def penalty(self, game: Game, turn: Turn) -> Loss:
        return (turn.fake_logits * torch.ones(len(turn.fake), 1)).mean()


class ReadsAValue(Fault):
    def penalty(self, game: Game, turn: Turn) -> Loss:
        return turn.fake_logits.mean() * turn.fake_logits.max().item()


class BranchesOnAValue(Fault):
    def penalty(self, game: Game, turn: Turn) -> Loss:
        return turn.fake_logits.mean() if turn.fake_logits.sum() > 0 else turn.fake_logits.sum()


class CopiesToTheHost(Fault):
    def penalty(self, game: Game, turn: Turn) -> Loss:
        return turn.fake_logits.mean() + turn.fake_logits.detach().cpu().mean()


class MasksRows(Fault):
    def penalty(self, game: Game, turn: Turn) -> Loss:
        return turn.fake_logits[turn.fake_logits > 0].sum()


class FindsRows(Fault):
    def penalty(self, game: Game, turn: Turn) -> Loss:
        return turn.fake_logits[(turn.fake_logits[:, 0] > 0).nonzero()[:, 0]].sum()


class CopiesAConstant(Fault):
    def penalty(self, game: Game, turn: Turn) -> Loss:
        return turn.fake_logits.mean() * torch.tensor(0.5, device=turn.fake.device)


class IndexesFromTheHost(Fault):
    def penalty(self, game: Game, turn: Turn) -> Loss:
        return turn.fake_logits[torch.arange(2)].mean()


pytestmark = pytest.mark.slow  # the device of its own takes seconds to start


@pytest.fixture(scope="session")
def on_device() -> Iterator[OnDevice]:
    """Calls a function of `accelerator` in the process that has the device."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=accelerator.install) as process:
        yield lambda function, *given: process.submit(function, *given).result()


def case(objective: str, regularizer: str, sampler: str, model: str) -> list[str]:
    own_classes = objective == "semi_supervised" and LABELS.get(regularizer) == "auxiliary"
    labels = [f"discriminator_labels={LABELS[regularizer]}"] if regularizer in LABELS and not own_classes else []
    return [
        *MODELS[model],
        f"objective={objective}",
        f"regularizer={regularizer}",
        f"latent_sampler={sampler}",
        *labels,
    ]


REFUSED = ("semi_supervised", "classification")  # the objective learns the classes by itself
CASES = [  # every two choices meet
    (objective, regularizer, SAMPLERS[(i + j) % len(SAMPLERS)], list(MODELS)[(i + 3 * j) % len(MODELS)])
    for (i, objective), (j, regularizer) in product(enumerate(OBJECTIVES), enumerate(REGULARIZERS))
    if (objective, regularizer) != REFUSED
]
CASES.append(("hinge", "classification", "advlat_div", "mlp_maxout"))  # the pairs of REFUSED


def test_every_two_choices_meet() -> None:
    met = set().union(*(pairs(each) for each in CASES))
    groups = (OBJECTIVES, REGULARIZERS, SAMPLERS, MODELS)
    assert len(met) == sum(len(one) * len(other) for one, other in combinations(groups, 2)) - len({REFUSED})


@pytest.mark.parametrize("each", CASES, ids="-".join)
def test_two_steps(on_device: OnDevice, each: tuple[str, str, str, str]) -> None:
    on_device(accelerator.two_steps, case(*each))


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=logan"],
        ["objective=gradient_normalization"],
        ["objective=san", "regularizer=unit_direction"],
        ["model=stylegan2", "model.generator.mixing=0.9", "regularizer=path_length", "regularizer.path_length.every=2"],
    ],
    ids=" ".join,
)
def test_two_steps_of_what_needs_its_own_company(on_device: OnDevice, overrides: list[str]) -> None:
    on_device(accelerator.two_steps, [*MODELS["dcgan"], *overrides])


@pytest.mark.parametrize("settings", [[], ["generator_labels=concat", "features@objective.features=mnist"]])
def test_two_steps_of_a_generator_alone(on_device: OnDevice, settings: list[str]) -> None:
    on_device(accelerator.two_steps, [*A_GENERATOR_ALONE, "objective=drifting", *settings])


@pytest.mark.parametrize("conditioning", choices("conditioning"))
@pytest.mark.parametrize("model", MODELS)
def test_two_steps_under_labels(on_device: OnDevice, model: str, conditioning: str) -> None:
    on_device(accelerator.two_steps, [*MODELS[model], f"conditioning={conditioning}"])


@pytest.mark.parametrize("labels", choices("generator_labels"))
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_two_steps_of_samplers_under_labels(on_device: OnDevice, sampler: str, labels: str) -> None:
    on_device(accelerator.two_steps, [*MODELS["dcgan"], f"generator_labels={labels}", f"latent_sampler={sampler}"])


OF_REALNESS = {
    "num_outcomes": [3],
    "objective.anchors": ["resampled", "resampled_each_step", "fixed", "expected"],
    "objective.anchor_shape": ["normal_uniform", "skewed_normal"],
    "objective.generator_objective": [1, 2, 3],
    "objective.feature_resampling": ["true", "false"],
}


@pytest.mark.parametrize("form", list(product(*OF_REALNESS.values())), ids=str)
def test_two_steps_of_realness(on_device: OnDevice, form: tuple[Any, ...]) -> None:
    given = [f"{key}={value}" for key, value in zip(OF_REALNESS, form, strict=True)]
    on_device(accelerator.two_steps, [*MODELS["mlp"], "objective=realness", *given])


@pytest.mark.parametrize(
    "overrides",
    [
        *([f"regularizer={name}"] for name in ("none", "vat", "adversarial_training", "entropy_minimisation")),
        ["model=conv_large"],
    ],
    ids=" ".join,
)
def test_two_steps_of_a_classifier(on_device: OnDevice, overrides: list[str]) -> None:
    on_device(accelerator.two_steps, [*A_CLASSIFIER, *overrides, "dataset.image_size=32"])


SETTINGS = [
    ["engine.precision=bfloat16", "regularizer=[gradient_penalty,vat]"],
    ["discriminator_steps=2", "generator_steps=3", "generator_batch_size=10"],
    ["experiment=rmsprop"],
    ["augmentation=flip"],
    ["augmentation=diffaugment"],
    ["augmentation=ada", "augmentation.cutout=1.0"],
    ["augmentation=ada", "augmentation.p={start: 0.0, end: 0.9, until: 9, shape: linear}", "objective=relativistic"],
    ["generator_optimizer.lr={start: 1e-3, end: 0.0, until: 9, shape: linear}", "regularizer.r1.every=2"],
]


@pytest.mark.parametrize("overrides", SETTINGS, ids=" ".join)
def test_two_steps_with_other_settings(on_device: OnDevice, overrides: list[str]) -> None:
    on_device(accelerator.two_steps, [*MODELS["dcgan"], *overrides])


def test_two_steps_with_data_that_does_not_fit(on_device: OnDevice) -> None:
    on_device(accelerator.two_steps, MODELS["dcgan"], None, 0)


@pytest.mark.parametrize(
    "overrides",
    [[], ["objective=realness", "latent_sampler=advlat_qua"], ["regularizer=[vat,gradient_penalty]"]],
    ids=" ".join,
)
def test_the_device_computes_what_the_cpu_does(on_device: OnDevice, overrides: list[str]) -> None:
    """Up to the order of sums: with this the other tests are of what a run computes."""
    smooth = [f"+{player}_optimizer.eps=1e-2" for player in ("generator", "discriminator")]  # in tiny gradients
    words = [*MODELS["dcgan"], *overrides, *smooth]
    found, expected = (on_device(accelerator.losses, words, device) for device in (accelerator.KIND, "cpu"))
    assert len(found) == 3
    for here, there in zip(found, expected, strict=True):
        assert here == {player: pytest.approx(terms, rel=1e-5) for player, terms in there.items()}


@pytest.mark.parametrize(
    ("fault", "refusal"),
    [
        (MeetsAnotherDevice, "a tensor on the CPU meets one on the device"),
        (ReadsAValue, "the host reads a value inside a step"),
        (MasksRows, "a shape depends on values inside a step"),
        (CopiesAConstant, "2 copies to the device where 1 feed it"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                (BranchesOnAValue, "the host reads a value inside a step"),
                (CopiesToTheHost, "the host reads a value inside a step"),
                (FindsRows, "a shape depends on values inside a step"),
                (IndexesFromTheHost, "3 copies to the device where 1 feed it"),  # also for its gradient
            )
        ),
    ],
)
def test_a_planted_fault_is_found(on_device: OnDevice, fault: type[Fault], refusal: str) -> None:
    """With the line that it is in."""
    with pytest.raises(accelerator.RefusedError, match=rf"{refusal}.*[ ']test_accelerator\.py:"):
        on_device(accelerator.two_steps, MODELS["dcgan"], fault(weight=1.0, every=1))


@pytest.mark.parametrize(
    "each",
    [
        ("hinge", "gradient_penalty", "gaussian", "mlp"),
        *(pytest.param(each, marks=pytest.mark.slow) for each in (*CASES[::7], *CASES[3::11])),
    ],
    ids="-".join,
)
def test_captured_steps(on_device: OnDevice, each: tuple[str, str, str, str]) -> None:
    """A graph of a whole step holds no copy, no value that the host reads and no shape that depends on values."""
    assert on_device(accelerator.captured_steps, case(*each)) >= 4


@pytest.mark.parametrize("overrides", SETTINGS, ids=" ".join)
def test_captured_steps_with_other_settings(on_device: OnDevice, overrides: list[str]) -> None:
    assert on_device(accelerator.captured_steps, [*MODELS["dcgan"], *overrides]) >= 4


def test_a_copy_in_a_captured_step_is_found(on_device: OnDevice) -> None:
    fault = CopiesAConstant(weight=1.0, every=1)
    with pytest.raises(CaptureError, match="1 copies to the device in a captured step: .*test_accelerator.py:"):
        on_device(accelerator.captured_steps, MODELS["dcgan"], fault)


def test_a_network_that_computes_on_the_cpu_is_found(on_device: OnDevice, tmp_path: Path) -> None:
    with pytest.raises(accelerator.RefusedError, match="computes on the CPU"):
        on_device(accelerator.command, "train", TINY, str(tmp_path), "cpu")


@pytest.mark.parametrize(("free_memory", "place"), [(2**40, accelerator.KIND), (0, "cpu")])
def test_generated_images_are_scored_where_they_are_made_if_they_fit(
    on_device: OnDevice, free_memory: int, place: str
) -> None:
    assert on_device(accelerator.place_of_generated, MODELS["dcgan"], free_memory) == place


def test_commands(on_device: OnDevice, tmp_path: Path) -> None:
    """A run is trained and scored, resumed, scored under every sampler and attack, and sampled; all on the device."""

    def run(name: str, *words: str) -> str:
        code, printed = on_device(accelerator.command, name, words, str(tmp_path))
        assert code == 0, printed
        assert "warning" not in printed
        return printed

    run("train", *TINY, "run_dir=run", "steps=2", "conditioning=auxiliary", "dataset.num_held_out=100")
    assert "fid_digits" in run("train", "resume=run", "steps=4")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["step"] == 4
    assert (summary["cost"]["device"], summary["hardware"]["gpu"]) == (accelerator.KIND, "a fake GPU")
    for sampler, settings in QUICK.items():
        if sampler == "logan":  # of training alone
            continue
        run("eval", "run", "num_eval_images=20", f"latent_sampler={sampler}", *settings)
    run("eval", "run", "num_eval_images=20", "attack=pgd")
    run("sample", "run", "num_images=4")
    run("sample", "run", "num_images=16", "latents=interpolate")


def test_commands_on_a_classifier_and_on_toy_points(on_device: OnDevice, tmp_path: Path) -> None:
    for name, words in {"classifier": A_CLASSIFIER, "points": MODELS["mlp"]}.items():
        code, printed = on_device(accelerator.command, "train", [*words, f"run_dir={name}"], str(tmp_path))
        assert code == 0, printed
        code, printed = on_device(accelerator.command, "eval", [name], str(tmp_path))
        assert code == 0, printed
