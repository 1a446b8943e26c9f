"""Drifting's field against closed forms and sums written out, and its loss against the field."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_cli.data import encode
from gan_cli.metrics.classifier import ClassifierExtractor
from gan_cli.metrics.features import extract
from gan_cli.objectives.drifting import Drifting, affinities, apart, distance, field, root_mean_square
from gan_cli.objectives.features import FrozenFeatures, check_differentiable

FLOOR = 1e-30


def one(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def points(count: int, dim: int = 2, seed: int = 0, shift: float = 0.0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def drifting(**changes: Any) -> Drifting:
    settings = {"temperatures": [0.5], "relative": False, "normalize": False, "floor": FLOOR, "features": None}
    return Drifting(**(settings | changes))


def field_of(generated: Tensor, real: Tensor, temperature: float, floor: float = FLOOR) -> Tensor:
    """As in training: at the generated points themselves."""
    distances = distance(generated, torch.cat([generated, real])).masked_fill(apart(generated, real), math.inf)
    return field(generated, real, distances, one(temperature), floor)


def test_the_field_changes_its_sign_if_both_sides_change_places() -> None:
    at, first, second = points(5), points(7, seed=1), points(7, seed=2, shift=0.5)
    there = field(first, second, distance(at, torch.cat([first, second])), one(0.7), FLOOR)
    back = field(second, first, distance(at, torch.cat([second, first])), one(0.7), FLOOR)
    assert there.abs().min() > 1e-4
    torch.testing.assert_close(there, -back, rtol=1e-12, atol=1e-14)


def test_the_field_of_two_generated_points_and_a_real_one() -> None:
    """At -1, with the other at 1 and a real point at 0: only a pull from 1 to 0, by both affinities."""
    k_other, k_real = math.exp(-2), math.exp(-1)
    row = k_other + k_real
    expected = k_real / math.sqrt(row * 2 * k_real) * k_other / math.sqrt(row * k_other) * (0 - 1)
    found = field_of(torch.tensor([[-1.0], [1.0]]).double(), torch.zeros(1, 1).double(), 1.0)
    assert found.flatten().tolist() == pytest.approx([expected, -expected], rel=1e-12)


@pytest.mark.parametrize("floor", [FLOOR, 0.1])
def test_the_field_is_the_sum_over_all_other_points(floor: float) -> None:
    generated, real, temperature = points(4), points(3, seed=1), 0.8
    targets = [*generated, *real]
    kernel = [[math.exp(-(x - y).norm().item() / temperature) for y in targets] for x in generated]
    for own in range(4):
        kernel[own][own] = 0.0
    row, column = [sum(each) for each in kernel], [sum(each[j] for each in kernel) for j in range(7)]
    weights = [[kernel[i][j] / math.sqrt(max(row[i] * column[j], floor)) for j in range(7)] for i in range(4)]
    expected = [
        sum((each[4 + p] * each[n] * (real[p] - generated[n]) for p in range(3) for n in range(4)), torch.zeros(2))
        for each in weights
    ]
    torch.testing.assert_close(field_of(generated, real, temperature, floor), torch.stack(expected))


def test_the_mean_field_is_zero_for_two_samples_of_one_law_and_points_to_another() -> None:
    at = points(1, seed=5).expand(1, 2)
    same: list[Tensor] = []
    other: list[Tensor] = []
    for seed in range(400):
        generated, real = points(16, seed=2 * seed), points(16, seed=2 * seed + 1)
        for found, shift in ((same, 0.0), (other, 0.5)):
            moved = real + shift
            found.append(field(generated, moved, distance(at, torch.cat([generated, moved])), one(0.5), FLOOR)[0])
    errors = [torch.stack(found).mean(0) / (torch.stack(found).std(0) / 20) for found in (same, other)]
    assert errors[0].abs().max() < 3.5
    assert errors[1].min() > 10


@pytest.mark.parametrize(("floor", "expected"), [(1e-300, math.sqrt(0.5)), (1e-6, math.exp(-40) / 1e-3)])
def test_a_point_far_from_all_targets_is_pulled_as_one_nearby_unless_the_floor_is_higher(
    floor: float, expected: float
) -> None:
    """Two targets at 40 temperatures: the row sum is 2 exp(-40), each column sum exp(-40)."""
    found = affinities(torch.tensor([[40.0, 40.0]], dtype=torch.float64), one(1.0), floor)
    assert found[0].tolist() == pytest.approx([expected, expected], rel=1e-12)


@pytest.mark.parametrize(("relative", "normalize"), [(False, False), (True, False), (True, True)])
def test_the_gradient_is_minus_twice_the_drift_through_the_jacobian(relative: bool, normalize: bool) -> None:
    codes, real = points(6, dim=3).requires_grad_(), points(5, dim=4, seed=1)
    jacobian = points(4, dim=3, seed=2)
    objective = drifting(temperatures=[0.3, 0.6], relative=relative, normalize=normalize)
    found = codes @ jacobian.T
    (gradient,) = torch.autograd.grad(objective.generator_loss(real, found), codes)

    generated = found.detach()
    between = distance(generated, torch.cat([generated, real]))
    mean = between.sum() / (6 * 11 - 6)
    unit = mean / 2 if relative else one(1.0)  # of one of four dimensions
    drift = torch.zeros_like(generated)
    for temperature in (0.3, 0.6):
        each = field_of(generated, real, temperature * (mean.item() if relative else 1.0))
        drift += each / each.square().mean().sqrt() if normalize else each / unit
    torch.testing.assert_close(gradient, -2 / 6 * drift / unit @ jacobian, rtol=1e-9, atol=1e-12)


def test_the_loss_is_the_mean_square_of_the_drift_and_its_scale_is_the_data_s_own() -> None:
    generated, real = points(6, dim=3), points(6, dim=3, seed=1)
    plain = drifting().generator_loss(real, generated)
    torch.testing.assert_close(plain, field_of(generated, real, 0.5).square().sum(1).mean())
    assert drifting(normalize=True).generator_loss(real, generated).item() == pytest.approx(3, rel=1e-9)
    scaled = [drifting(relative=True).generator_loss(c * real, c * generated).item() for c in (1.0, 40.0)]
    assert scaled[1] == pytest.approx(scaled[0], rel=1e-9)
    assert abs(drifting().generator_loss(2 * real, 2 * generated) / plain - 1) > 0.1


def test_images_are_compared_within_their_class() -> None:
    generated, real = points(7), points(7, seed=1)
    made, given = torch.tensor([0, 0, 0, 1, 1, 1, 2]), torch.tensor([1, 1, 0, 0, 0, 0, 3])
    objective = drifting()
    found = objective.generator_loss_by_class(real, generated, given, made)
    apart_ = [objective.generator_loss(real[given == label], generated[made == label]) for label in (0, 1)]
    torch.testing.assert_close(found, (3 * apart_[0] + 3 * apart_[1]) / 7)  # the only one of class 2 does not move


def test_the_root_mean_square_of_numbers_whose_squares_vanish() -> None:
    tiny = torch.tensor([3e-30, -4e-30])
    assert root_mean_square(tiny).item() == pytest.approx(math.sqrt(12.5) * 1e-30, rel=1e-5)
    assert root_mean_square(torch.zeros(3)).item() == 1


def test_settings_out_of_range_are_refused() -> None:
    wrong: list[dict[str, Any]] = [{"temperatures": []}, {"temperatures": [0.1, 0.0]}, {"floor": 0.0}]
    for changes in wrong:
        with pytest.raises(ValueError, match=next(iter(changes))):
            drifting(**changes)


def test_features_are_those_of_the_extractor_with_a_gradient_and_no_weights_of_their_own() -> None:
    loaded = ClassifierExtractor(name="digits").load()
    network = FrozenFeatures(loaded)
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    stored = encode(images, torch.uint8)
    shown = (stored.float() / 127.5 - 1).requires_grad_()
    features = network(shown)
    torch.testing.assert_close(features.detach(), extract(loaded, stored, 3).features)
    assert torch.autograd.grad(features.sum(), shown)[0].abs().max() > 0
    assert not list(network.parameters())
    assert network.state_dict() == {}
    colours = torch.cat([images, -images, 0 * images], 1)
    assert network(colours).shape == (3, 3 * 64)
    torch.testing.assert_close(network(colours)[:, :64], network(images))
    network.to(torch.float16)
    assert {weight.dtype for weight in loaded.network.parameters()} == {torch.float16}


class Quantised(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.to(torch.uint8).float().flatten(1)


def test_features_that_cannot_be_drifted_in_are_refused() -> None:
    with pytest.raises(ValueError, match="no gradient flows"):
        check_differentiable(Quantised(), (1, 4, 4))
    with pytest.raises(ValueError, match="does not read images of 2 x 1 x 1"):
        check_differentiable(nn.Linear(3, 1), (2, 1, 1))
