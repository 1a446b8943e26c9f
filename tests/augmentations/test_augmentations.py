"""Flips and DiffAugment against their definitions, and what holds for every augmentation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gan_cli.augmentations import ADA, Augmentation, DiffAugment, Flip
from gan_cli.augmentations.diffaugment import brightened, contrasted, cut_out, saturated, translated
from gan_cli.config.read import config_of
from gan_cli.errors import UserError
from gan_cli.objectives import StdGAN

from ..conftest import TINY, TINY_MLP
from .test_ada import ada


def noise(count: int, channels: int = 3, height: int = 16, width: int = 16) -> Tensor:
    return torch.randn(count, channels, height, width, dtype=torch.float64)


def test_half_of_all_images_are_flipped() -> None:
    torch.manual_seed(0)
    images = noise(1, 1, 2, 3).expand(4000, 1, 2, 3)
    flipped = Flip()(images)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert ((flipped == images).flatten(1).all(1) ^ mirrored).all()
    assert mirrored.double().mean().item() == pytest.approx(0.5, abs=0.04)  # five standard deviations


def test_brightness_is_moved_by_up_to_a_half() -> None:
    torch.manual_seed(0)
    images = noise(2000, 3, 2, 2)
    offset = (brightened(images) - images).flatten(1)
    torch.testing.assert_close(offset, offset[:, :1].expand_as(offset))
    assert offset.min().item() == pytest.approx(-0.5, abs=0.01)
    assert offset.max().item() == pytest.approx(0.5, abs=0.01)
    assert offset.mean().item() == pytest.approx(0, abs=0.04)


@pytest.mark.parametrize(("change", "axes", "low"), [(saturated, (1,), 0.0), (contrasted, (1, 2, 3), 0.5)])
def test_saturation_and_contrast_scale_the_difference_from_a_mean(
    change: Any, axes: tuple[int, ...], low: float
) -> None:
    torch.manual_seed(0)
    images = noise(1000, 3, 2, 2)
    mean = images.mean(axes, keepdim=True)
    ratios = ((change(images) - mean) / (images - mean)).flatten(1)
    torch.testing.assert_close(ratios, ratios[:, :1].expand_as(ratios))
    assert ratios.min().item() == pytest.approx(low, abs=0.02)
    assert ratios.max().item() == pytest.approx(2 - low, abs=0.02)
    assert ratios.mean().item() == pytest.approx(1, abs=0.1)


def test_grey_images_have_no_saturation() -> None:
    images = noise(8, 1)
    torch.testing.assert_close(saturated(images), images)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (12, 20)])
def test_translation_moves_by_up_to_an_eighth_and_fills_with_zeros(height: int, width: int) -> None:
    torch.manual_seed(0)
    image = noise(1, 2, height, width)
    down, right = int(height / 8 + 0.5), int(width / 8 + 0.5)
    canvas = torch.zeros(2, height + 2 * down, width + 2 * right, dtype=torch.float64)
    canvas[:, down : down + height, right : right + width] = image[0]
    expected = {
        (y, x): canvas[:, y : y + height, x : x + width] for y in range(2 * down + 1) for x in range(2 * right + 1)
    }
    seen = [
        next(at for at, moved in expected.items() if torch.equal(moved, found))
        for found in translated(image.expand(400, -1, -1, -1))
    ]
    assert set(seen) == set(expected)


@pytest.mark.parametrize(("size", "side"), [(16, 8), (9, 5)])
def test_cutout_is_a_square_of_half_the_size_that_may_leave_the_frame(size: int, side: int) -> None:
    torch.manual_seed(0)
    gone = cut_out(torch.ones(1000, 2, size, size)) == 0
    assert torch.equal(gone[:, 0], gone[:, 1])
    rows, columns = gone[:, 0].any(2), gone[:, 0].any(1)
    assert torch.equal(gone[:, 0], rows[:, :, None] & columns[:, None, :])  # a rectangle
    starts = {(int(row.int().argmax()), int(row.sum())) for row in rows}
    inside = {(start, side) for start in range(size - side + 1)}
    least = side - side // 2
    assert inside | {(0, least), (size - least, least)} <= starts
    assert min(length for _, length in starts) == least
    assert max(length for _, length in starts) == side


@pytest.mark.parametrize("policy", [["color"], ["translation"], ["cutout"], ["color", "translation", "cutout"]])
def test_a_policy_is_its_operations_in_order(policy: Any) -> None:
    torch.manual_seed(3)
    images = noise(4)
    expected, named = images, {"color": [brightened, saturated, contrasted], "translation": [translated]}
    torch.manual_seed(4)
    for name in policy:
        for change in named.get(name, [cut_out]):
            expected = change(expected)  # type: ignore[operator]
    torch.manual_seed(4)
    assert torch.equal(DiffAugment(policy=policy)(images), expected)
    assert not torch.equal(expected, images)


EVERY: list[Augmentation] = [
    Flip(),
    DiffAugment(policy=["color", "translation", "cutout"]),
    ada(p=0.8, cutout=1.0),
]
each = pytest.mark.parametrize("augmentation", EVERY, ids=lambda a: type(a).__name__)


@each
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14)], ids=str)
def test_any_size_grey_or_colour(augmentation: Augmentation, shape: tuple[int, int, int]) -> None:
    images = torch.rand(5, *shape) * 2 - 1
    shown = augmentation(images)
    assert shown.shape == images.shape
    assert shown.dtype == images.dtype
    assert shown.isfinite().all()
    assert torch.equal(images, images.clone())


@each
def test_an_image_does_not_depend_on_the_others(augmentation: Augmentation) -> None:
    """So that real and generated images may share a pass, and a penalty is of each image."""
    images = noise(6)
    other = torch.cat([images[:3], noise(3)])
    torch.manual_seed(1)
    first = augmentation(images)
    torch.manual_seed(1)
    assert torch.equal(first[:3], augmentation(other)[:3])


@each
def test_first_and_second_derivatives_are_finite_differences(augmentation: Augmentation) -> None:
    """The generator's gradient, and what R1 and R2 differentiate."""

    def augmented(images: Tensor) -> Tensor:
        torch.manual_seed(5)
        return augmentation(images)

    images = noise(3, 3, 4, 4).requires_grad_(True)
    assert torch.autograd.gradcheck(augmented, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(augmented, images, fast_mode=True)


@each
def test_toy_points_are_refused(augmentation: Augmentation) -> None:
    with pytest.raises(ValueError, match="it moves pixels, and an image has 2 x 1 x 1: set augmentation=none"):
        augmentation.prepare((2, 1, 1), StdGAN(saturating=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flip", "diffaugment", "ada"])
def test_toy_points_are_refused_when_the_experiment_is_built(experiment: Any, name: str) -> None:
    with pytest.raises(UserError, match="^augmentation: it moves pixels"):
        experiment(*TINY_MLP, "model=mlp", "dataset=ring", f"augmentation={name}")


def test_an_empty_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="set augmentation=none"):
        DiffAugment(policy=[])


def test_a_misspelt_operation_is_refused() -> None:
    with pytest.raises(UserError, match=r"policy\[0\]=colour must be one of color, .*did you mean color"):
        config_of(["augmentation=diffaugment", "augmentation.policy=[colour]"])


def test_the_multipliers_of_the_file_are_those_of_the_paper() -> None:
    node = config_of([*TINY, "augmentation=ada"])["augmentation"]
    settings = {key: value for key, value in node.items() if key != "_target_"}
    assert settings.pop("p") == "adaptive"
    assert settings.pop("cutout") == 0.0
    assert (settings.pop("target"), settings.pop("adjust_every"), settings.pop("images_to_one")) == (0.6, 4, 500_000)
    assert set(settings.values()) == {1.0}
    assert len(settings) == 12
    assert ADA(p=0.1, cutout=0.0, target=0.6, adjust_every=4, images_to_one=500_000, **settings) == ada(p=0.1)
