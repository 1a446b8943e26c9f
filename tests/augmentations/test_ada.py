"""ADA: its maps against their definitions, its filter, and how p is adapted."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from gan_cli.augmentations.ada import ADA, Adaptive, hue_rotation, luma_flip, saturating
from gan_cli.augmentations.warping import (
    OFFSET,
    WAVELET,
    filtered,
    product,
    resampled,
    rotation,
    scaling,
    shift,
)
from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.objectives import Hinge, Objective, Relativistic, StdGAN
from gan_cli.schedule import Ramp
from gan_cli.trainer import train

from ..conftest import TINY
from ..values import a_turn

FACTORS = [field.name for field in fields(ADA)][4:-1]


def ada(**changes: Any) -> ADA:
    """With the settings of its file."""
    settings = dict.fromkeys(FACTORS, 1.0) | {"cutout": 0.0}
    return ADA(**({"p": 1.0, "target": 0.6, "adjust_every": 4, "images_to_one": 500_000} | settings | changes))


def only(*names: str, **changes: Any) -> ADA:
    """With these operations alone."""
    return ada(**({name: float(name in names) for name in FACTORS} | changes))


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def waves(x: Tensor, y: Tensor) -> Tensor:
    """An image [1, 1, rows, columns] that is smooth at a pixel's scale, at these positions."""
    return (torch.cos(0.35 * x + 0.2 * y) + torch.sin(0.3 * y - 0.1 * x))[None, None]


def centred(height: int, width: int) -> tuple[Tensor, Tensor]:
    y, x = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2 for size in (height, width))
    return x.expand(height, width), y[:, None].expand(height, width)


# The filter


def test_the_wavelet_is_orthogonal_and_has_six_vanishing_moments() -> None:
    """Which fix such a filter of twelve taps but for its phase."""
    taps, n = np.array(WAVELET), np.arange(12)
    for even in range(6):
        assert (taps[2 * even :] * taps[: 12 - 2 * even]).sum() == pytest.approx(float(even == 0), abs=1e-11)
    for moment in range(6):
        assert ((-1.0) ** n * n**moment * taps).sum() == pytest.approx(0, abs=1e-8)
    assert pytest.approx((n * taps).sum() / taps.sum() - 5) == OFFSET


@pytest.mark.parametrize("shape", [(16, 16), (9, 14)])
def test_what_is_upsampled_and_downsampled_is_the_image(shape: tuple[int, int]) -> None:
    images = noise(2, 3, *shape)
    torch.testing.assert_close(filtered(images, scaling(numbers(1, 1), numbers(1, 1))), images, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "maps", [rotation(numbers(0.4)), scaling(numbers(0.6), numbers(1.7)), shift(numbers(3.3), numbers(-9))]
)
def test_a_constant_image_stays_constant_under_any_map(maps: Tensor) -> None:
    images = torch.full((1, 1, 12, 12), 0.7, dtype=torch.float64)
    torch.testing.assert_close(filtered(images, maps), images, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "maps",
    [
        shift(numbers(0.3), numbers(-0.7)),
        rotation(numbers(0.2)),
        scaling(numbers(0.9), numbers(1.1)),
        scaling(numbers(-1), numbers(1)),
        product(rotation(numbers(math.pi / 2)), shift(numbers(0.25), numbers(0))),
    ],
    ids=["shift", "rotation", "scaling", "mirror", "quarter turn and shift"],
)
def test_a_smooth_image_is_read_where_the_map_says(maps: Tensor) -> None:
    """Away from the border, up to linear interpolation between half pixels."""
    x, y = centred(24, 24)
    sources = (maps[0] @ torch.stack([x, y, torch.ones_like(x)]).flatten(1)).view(3, 24, 24)
    found, expected = filtered(waves(x, y), maps), waves(sources[0], sources[1])
    torch.testing.assert_close(found[..., 7:-7, 7:-7], expected[..., 7:-7, 7:-7], rtol=0, atol=0.02)
    assert (waves(x, y) - expected)[..., 7:-7, 7:-7].abs().max() > 0.1


def test_beyond_the_border_lies_the_mirror_image() -> None:
    image = noise(1, 1, 6, 6)
    moved = resampled(image, shift(numbers(-2), numbers(0)))
    assert torch.equal(moved[..., 2:], image[..., :-2])
    assert torch.equal(moved[..., :2], image[..., [2, 1]])
    mirrored = torch.nn.functional.pad(image, (5, 5, 5, 5), mode="reflect")
    far = filtered(image, shift(numbers(-4), numbers(5)))
    torch.testing.assert_close(far, mirrored[..., 10:, 1:7], rtol=0, atol=1e-9)


# What is moved pixel by pixel


def test_a_flip_is_a_flip() -> None:
    torch.manual_seed(0)
    image = noise(1, 3, 8, 8)
    shown = only("x_flip")(image.expand(2000, -1, -1, -1))
    mirrored = (shown == image.flip(3)).flatten(1).all(1)
    assert ((shown == image).flatten(1).all(1) ^ mirrored).all()
    assert mirrored.double().mean().item() == pytest.approx(0.5, abs=0.06)


def test_quarter_turns_are_rot90() -> None:
    torch.manual_seed(0)
    image = noise(1, 3, 8, 8)
    turned = torch.stack([torch.rot90(image[0], k, (1, 2)) for k in range(4)])
    same = (only("rotate90")(image.expand(2000, -1, -1, -1))[:, None] == turned).flatten(2).all(2)
    assert (same.sum(1) == 1).all()
    torch.testing.assert_close(same.double().mean(0), torch.full((4,), 0.25, dtype=torch.float64), rtol=0, atol=0.05)


def test_an_integer_shift_moves_pixels_by_up_to_an_eighth() -> None:
    torch.manual_seed(0)
    image = noise(1, 2, 16, 24)
    mirrored = torch.nn.functional.pad(image, (3, 3, 2, 2), mode="reflect")[0]
    expected = torch.stack([mirrored[:, y : y + 16, x : x + 24] for y in range(5) for x in range(7)])
    same = (only("integer_shift")(image.expand(500, -1, -1, -1))[:, None] == expected).flatten(2).all(2)
    assert (same.sum(1) == 1).all()
    assert same.any(0).all()


@pytest.mark.parametrize("p", [0.25, pytest.param(0.75, marks=pytest.mark.slow)])
def test_every_operation_happens_with_probability_p_times_its_factor(p: float) -> None:
    """A rotation is two, of which either one happens with that probability."""
    torch.manual_seed(0)
    images = noise(1, 3, 4, 4).expand(1500, -1, -1, -1)
    still = {"x_flip": 1 / 2, "rotate90": 1 / 4, "luma_flip": 1 / 2}  # the share of draws that change nothing
    for name in set(FACTORS) - {"integer_shift", "cutout"}:  # which may draw no change of so small an image
        changed = (only(**{name: 0.8, "p": p})(images) != images).flatten(1).any(1)
        expected = 0.8 * p * (1 - still.get(name, 0))
        assert changed.double().mean().item() == pytest.approx(expected, abs=0.06), name


# Colours


def test_hue_rotates_about_grey_and_keeps_luma() -> None:
    angles = [-2.0, 0.3, 3.0]
    axis = np.ones(3) / math.sqrt(3)
    expected = np.stack([Rotation.from_rotvec(angle * axis).as_matrix() for angle in angles])
    found = hue_rotation(numbers(*angles))
    torch.testing.assert_close(found, torch.tensor(expected))
    torch.testing.assert_close(found.sum(1), torch.ones(3, 3, dtype=torch.float64))  # the mean of the channels stays


def test_a_luma_flip_is_a_reflection_and_saturation_scales_colour() -> None:
    v = np.ones((3, 1)) / math.sqrt(3)
    torch.testing.assert_close(luma_flip(numbers(1))[0], torch.tensor(np.eye(3) - 2 * v @ v.T))
    torch.testing.assert_close(saturating(numbers(2.5))[0], torch.tensor(v @ v.T + 2.5 * (np.eye(3) - v @ v.T)))
    for neutral in (luma_flip(numbers(0)), saturating(numbers(1)), hue_rotation(numbers(0))):
        assert torch.equal(neutral[0], torch.eye(3, dtype=torch.float64))


def test_brightness_and_contrast_have_the_widths_of_the_paper() -> None:
    torch.manual_seed(0)
    images = noise(4000, 3, 2, 2)
    offset = (only("brightness")(images) - images).flatten(1)
    torch.testing.assert_close(offset, offset[:, :1].expand_as(offset))
    assert offset[:, 0].std().item() == pytest.approx(0.2, rel=0.06)
    exponent = (only("contrast")(images) / images).flatten(1).log2()
    torch.testing.assert_close(exponent, exponent[:, :1].expand_as(exponent))
    assert exponent[:, 0].std().item() == pytest.approx(0.5, rel=0.06)
    assert exponent.mean().item() == pytest.approx(0, abs=0.05)


def test_grey_images_have_brightness_and_contrast_alone() -> None:
    images = noise(16, 1, 4, 4)
    assert torch.equal(only("luma_flip", "hue", "saturation")(images), images)
    assert not torch.equal(only("brightness")(images), images)


def test_cutout_is_half_as_wide_and_high_as_the_image() -> None:
    torch.manual_seed(0)
    gone = only("cutout")(torch.ones(500, 1, 16, 16))[:, 0] == 0
    rows, columns = gone.any(2), gone.any(1)
    assert torch.equal(gone, rows[:, :, None] & columns[:, None, :])
    assert rows.sum(1).max() == columns.sum(1).max() == 8
    assert rows.sum(1).min() == columns.sum(1).min() == 4


# p


def test_p_of_zero_draws_nothing_and_returns_the_images() -> None:
    images, before = noise(3, 1, 4, 4), torch.get_rng_state()
    assert ada(p=0.0)(images) is images
    assert torch.equal(torch.get_rng_state(), before)


def test_images_that_nothing_happens_to_are_bitwise_the_same() -> None:
    still = adaptive()
    images = torch.randn(8, 3, 9, 9)
    assert torch.equal(still(images), images)


@pytest.mark.slow
def test_a_run_with_p_of_zero_is_bitwise_one_without() -> None:
    runs = [
        build_experiment(config_of([*TINY, *words]), Engine())
        for words in (["augmentation=none"], ["augmentation=ada", "augmentation.p=0.0"])
    ]
    (one, other) = ([step.terms for step in train(run)] for run in runs)
    assert all(map(torch.equal, one, other))
    for mine, theirs in zip(*(run.game.generator.parameters() for run in runs), strict=True):
        assert torch.equal(mine, theirs)


def adaptive(objective: Objective | None = None, **changes: Any) -> ADA:
    made = ada(p="adaptive", **changes)
    made.prepare((1, 8, 8), objective or StdGAN(saturating=False))
    return made


def p_of(augmentation: ADA) -> float:
    assert augmentation.present is not None
    return augmentation.present.p.item()


def steps(augmentation: ADA, logits: Callable[[int], Tensor], count: int, first: int = 0) -> list[float]:
    """p after each step's adjustment."""
    seen = []
    for step in range(first, first + count):
        augmentation.before_step(torch.device("cpu"), step)
        seen.append(p_of(augmentation))
        turn = a_turn(torch.zeros(64, 1, 1, 1), torch.zeros(64, 1, 1, 1))
        assert turn.real_outputs is not None
        augmentation.after_turn(replace(turn, real_outputs=replace(turn.real_outputs, logits=logits(step))))
        augmentation.after_turn(replace(turn, real_outputs=None))  # the generator's
    return seen


def test_p_rises_where_the_sign_is_one_and_falls_where_it_is_minus_one() -> None:
    """By 4 batch / 500,000 at each adjustment, every fourth step."""
    made, change = adaptive(), 4 * 64 / 500_000
    rising = steps(made, lambda _: torch.full((64, 1), 0.1), 13)
    assert rising == pytest.approx([0] * 4 + [change] * 4 + [2 * change] * 4 + [3 * change], rel=1e-6)
    falling = steps(made, lambda _: torch.full((64, 1), -5.0), 9, first=13)
    assert falling == pytest.approx([3 * change] * 3 + [2 * change] * 4 + [change] * 2, rel=1e-5)


def test_p_follows_the_mean_sign_of_all_steps_since_it_was_adjusted() -> None:
    """The mean of 1, 1, 1 and -0.25 is above 0.6, that of 1, 1, 1 and -1 below it."""

    def share(positive: int) -> Tensor:
        return torch.where(torch.arange(64) < positive, 1.0, -1.0)[:, None]

    made = adaptive()
    assert steps(made, lambda step: share(24 if step == 2 else 64), 5)[-1] > 0
    assert steps(made, lambda step: share(0 if step == 6 else 64), 4, first=5)[-1] == 0


def test_p_stays_between_zero_and_one() -> None:
    made = adaptive(images_to_one=400)
    assert max(steps(made, lambda _: torch.ones(64, 1), 12)) == 1
    assert min(steps(made, lambda _: -torch.ones(64, 1), 12, first=12)) == 0


def test_the_sign_is_of_the_score_less_the_undecided_one() -> None:
    smooth = StdGAN(saturating=False, real_target=0.9)
    undecided = math.log(0.9 / 1.1)
    for side, expected in ((0.01, 1.0), (-0.01, -1.0)):
        made = adaptive(smooth)
        steps(made, lambda _, side=side: torch.full((64, 1), undecided + side), 1)  # type: ignore[misc]
        assert isinstance(made.present, Adaptive)
        assert (made.present.signs / made.present.images).item() == expected


def test_objectives_without_an_undecided_score_are_refused() -> None:
    with pytest.raises(
        ValueError, match="Relativistic has no such score: set augmentation.p to a number or a schedule"
    ):
        adaptive(Relativistic(pairing="paired", loss="standard"))
    ada(p=0.2).prepare((1, 8, 8), Relativistic(pairing="paired", loss="standard"))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["relativistic", "wgan_gp", "realness"])
def test_they_are_refused_in_one_line_when_the_experiment_is_built(experiment: Any, objective: str) -> None:
    with pytest.raises(UserError, match="^augmentation: p=adaptive .* has no such score") as refusal:
        experiment(*TINY, f"objective={objective}", "augmentation=ada")
    assert "\n" not in str(refusal.value)
    experiment(*TINY, f"objective={objective}", "augmentation=ada", "augmentation.p=0.2")


def test_a_schedule_sets_p_before_each_step() -> None:
    ramp = Ramp(start=0.0, end=0.5, until=10, shape="cosine")
    made = ada(p=ramp)
    made.prepare((1, 8, 8), Hinge())
    for step in (0, 3, 20):
        made.before_step(torch.device("cpu"), step)
        assert p_of(made) == pytest.approx(ramp.at(step))


def test_a_wrong_p_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^p=1.5 must be at least 0 and at most 1$"):
        ada(p=1.5)
    with pytest.raises(UserError, match="p=adaptiv must be one of adaptive, or a number or a schedule: did you mean"):
        config_of([*TINY, "augmentation=ada", "augmentation.p=adaptiv"])
