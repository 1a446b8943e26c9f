"""Ranges that fields declare."""

import importlib
import math
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt

import gan_cli
from gan_cli.attacks import FGSM, PGD
from gan_cli.datasets.digits import Digits
from gan_cli.datasets.image_folder import ImageFolder
from gan_cli.datasets.toy import Grid, Ring
from gan_cli.experiment import RunSettings
from gan_cli.latent_samplers import DDLS, DRS, MH, AdvLatDiv, AdvLatQua, AdvLatZ, Gaussian, TruncatedGaussian, Uniform
from gan_cli.metrics.feature_metrics import FeatureMetrics
from gan_cli.metrics.mode_metrics import ModeMetrics
from gan_cli.objectives.realness import Realness
from gan_cli.objectives.stdgan import StdGAN
from gan_cli.ranges import Ranged, range_problems
from gan_cli.regularizers import (
    R1,
    R2,
    VAT,
    AdversarialTraining,
    Dragan,
    GradientPenalty,
    ModeSeeking,
    SpectralNorm,
    WeightClipping,
)
from gan_cli.schedule import Ramp, Schedule


def line(start: int, end: int) -> Schedule:
    return Ramp(start=float(start), end=float(end), until=9, shape="linear")


@pytest.mark.parametrize(
    ("hint", "inside", "outside", "words"),
    [
        (Annotated[int, Ge(1)], [1, 2], [0, -1], "at least 1"),
        (Annotated[float, Gt(0)], [1e-9, math.inf], [0.0, -1e-9, math.nan], "above 0"),
        (Annotated[float, Le(0.5)], [0.5, -1.0], [0.6, math.nan], "at most 0.5"),
        (Annotated[float, Lt(1.0)], [0.9, -1.0], [1.0, math.nan], "below 1.0"),
        (Annotated[int, Interval(ge=2, le=9_999)], [2, 9_999], [1, 10_000], "at least 2 and at most 9,999"),
        (Annotated[float, Interval(gt=0, lt=1)], [0.1, 0.9], [0.0, 1.0], "above 0 and below 1"),
        (Annotated[int, Ge(1)] | None, [1, None], [0], "at least 1"),
        (Annotated[float, Ge(0)] | Schedule, [0, line(0, 1)], [-1.0, line(-1, 0), line(0, -1)], "at least 0"),
        (Annotated[int, "a note", Ge(1)], [1], [0], "at least 1"),
    ],
)
def test_every_kind_of_bound_is_two_sided(hint: Any, inside: list[Any], outside: list[Any], words: str) -> None:
    assert [problem for value in inside for problem in range_problems("x", value, hint)] == []
    assert [list(range_problems("x", value, hint)) for value in outside] == [
        [f"x={value} must be {words}"] for value in outside
    ]


def test_of_two_bounds_the_broken_one_is_named() -> None:
    hint = Annotated[float, Ge(0.0), Lt(1.0)]
    assert list(range_problems("x", 1.0, hint)) == ["x=1.0 must be below 1.0"]
    assert list(range_problems("x", -1.0, hint)) == ["x=-1.0 must be at least 0.0"]


@pytest.mark.parametrize("hint", [None, int, float | None, Literal[1, 2], list[int]])
def test_what_declares_no_wordshas_none(hint: Any) -> None:
    assert list(range_problems("x", -5, hint)) == []


@dataclass(frozen=True, kw_only=True)
class Pair(Ranged):
    width: Annotated[int, Ge(1)]
    height: "Annotated[int, Ge(1)]"  # as in a module that postpones its annotations


def test_a_dataclass_is_checked_as_it_is_made_and_replaced() -> None:
    pair = Pair(width=1, height=1)
    with pytest.raises(ValueError, match=r"^width=0 must be at least 1$"):
        Pair(width=0, height=0)
    with pytest.raises(ValueError, match=r"^height=0 must be at least 1$"):
        replace(pair, height=0)


def with_one_field(base: type[Ranged], name: str, value: Any, hint: Any = None) -> Ranged:
    """An instance that holds this field alone, before it is checked."""
    made = type(base.__name__, (base,), {"__annotations__": {} if hint is None else {name: hint}})
    made.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    instance: Ranged = object.__new__(made)
    vars(instance)[name] = value
    return instance


OUTSIDE: dict[type[Ranged], list[str]] = {
    R1: ["weight=-0.1 must be at least 0", "every=0 must be at least 1"],
    R2: ["weight=-0.1 must be at least 0", "every=0 must be at least 1"],
    GradientPenalty: ["weight=-0.1 must be at least 0", "every=0 must be at least 1"],
    ModeSeeking: ["weight=-0.1 must be at least 0", "every=0 must be at least 1"],
    Dragan: ["weight=-0.1 must be at least 0", "every=0 must be at least 1", "scale=-0.1 must be at least 0"],
    VAT: ["epsilon=0.0 must be above 0", "xi=0.0 must be above 0", "num_power_iterations=-1 must be at least 0"],
    AdversarialTraining: ["epsilon=0.0 must be above 0", "step_size=0.0 must be above 0", "steps=0 must be at least 1"],
    SpectralNorm: ["num_power_iterations=0 must be at least 1"],
    WeightClipping: ["limit=0.0 must be above 0"],
    Gaussian: ["latent_dim=0 must be at least 1"],
    Uniform: ["latent_dim=0 must be at least 1"],
    TruncatedGaussian: ["latent_dim=0 must be at least 1", "threshold=0.0 must be above 0"],
    AdvLatQua: ["steps=-1 must be at least 0", "step_size=0.0 must be above 0"],
    AdvLatZ: ["steps=-1 must be at least 0", "step_size=0.0 must be above 0"],
    AdvLatDiv: ["steps=-1 must be at least 0", "start_std=0.0 must be above 0", "offset=-0.1 must be at least 0"],
    DDLS: ["steps=-1 must be at least 0", "step_size=0.0 must be above 0"],
    DRS: ["epsilon=0.0 must be above 0", "num_burn_in=0 must be at least 1", "max_rounds=0 must be at least 1"],
    MH: ["chain_length=0 must be at least 1"],
    StdGAN: ["real_target=0.0 must be above 0 and at most 1", "real_target=1.01 must be above 0 and at most 1"],
    Realness: [
        "num_anchor_samples=1 must be at least 2 and at most 10,000,000",
        "num_anchor_samples=10000001 must be at least 2 and at most 10,000,000",
    ],
    Ring: ["std=0.0 must be above 0", "points_per_mode=0 must be at least 1", "num_modes=0 must be at least 1"],
    Grid: ["std=0.0 must be above 0", "points_per_mode=0 must be at least 1", "side=0 must be at least 1"],
    Digits: ["image_size=0 must be at least 1"],
    ImageFolder: ["image_size=0 must be at least 1", "crop_size=0 must be at least 1", "limit=0 must be at least 1"],
    FGSM: ["epsilon=-0.1 must be at least 0"],
    PGD: ["steps=0 must be at least 1", "relative_step_size=0.0 must be above 0"],
    ModeMetrics: ["max_deviations=0.0 must be above 0"],
    FeatureMetrics: [
        "inception_score_splits=0 must be at least 1",
        "kid_subsets=0 must be at least 1",
        "kid_subset_size=1 must be at least 2",
        *(f"{name}=0 must be at least 1" for name in ("cas_seeds", "cas_steps")),
        "batch_size=0 must be at least 1",
    ],
    RunSettings: [
        *(f"{name}=0 must be at least 1" for name in ("steps", "discriminator_steps", "generator_steps")),
        *(f"{name}=0 must be at least 1" for name in ("keep_checkpoints", "num_eval_images")),
        *(f"{name}=1 must be at least 2" for name in ("batch_size", "generator_batch_size")),
        *(f"{name}=-1 must be at least 0" for name in ("seed", "evaluation_seed", "log_every", "sample_every")),
        *(f"{name}=-1 must be at least 0" for name in ("evaluate_every", "checkpoint_every")),
        "ema_decay=-0.1 must be at least 0.0",
        "ema_decay=1.0 must be below 1.0",
    ],
}


@pytest.mark.parametrize(
    ("leaf", "message"), [(leaf, message) for leaf, messages in OUTSIDE.items() for message in messages]
)
def test_every_leaf_says_which_of_its_numbers_is_outside_what_range(leaf: type[Ranged], message: str) -> None:
    name, value = message.split(" ")[0].split("=")
    number = float(value) if "." in value else int(value)
    with pytest.raises(ValueError) as refused:
        with_one_field(leaf, name, number).__post_init__()
    assert str(refused.value) == message


def ranged(base: type[Ranged] = Ranged) -> Iterator[type[Ranged]]:
    for inheriting in base.__subclasses__():
        yield inheriting
        yield from ranged(inheriting)


def test_a_leafs_own_checks_come_after_its_ranges() -> None:
    """Whoever writes a `__post_init__` calls the base's first, also where the leaf itself declares no range."""
    for module in pkgutil.walk_packages(gan_cli.__path__, "gan_cli."):
        importlib.import_module(module.name)
    checked = {leaf for leaf in ranged() if leaf.__module__.startswith("gan_cli.")}
    assert set(OUTSIDE) < checked
    for leaf in checked:
        with pytest.raises(ValueError, match=r"^a_field=0 must be at least 1$"):
            with_one_field(leaf, "a_field", 0, Annotated[int, Ge(1)]).__post_init__()
