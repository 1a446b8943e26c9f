"""Numbers that change while training, against closed forms."""

import math
from typing import Any

import pytest
import torch

from gan_cli.schedule import LAST_STEP, HalfLife, Ramp, Stairs, value_at


def schedule(**changes: Any) -> Ramp:
    return Ramp(**({"start": 2.0, "end": 0.5, "until": 30, "shape": "linear"} | changes))


@pytest.mark.parametrize("step", [10, 11, 15, 20, 29, 30])
def test_linear_is_a_line_and_cosine_half_a_wave(step: int) -> None:
    passed = (step - 10) / 20
    assert schedule(since=10).at(step) == pytest.approx(2.0 - 1.5 * passed, rel=1e-12)
    wave = 1.25 + 0.75 * math.cos(math.pi * passed)  # from the mean of both ends
    assert schedule(since=10, shape="cosine").at(step) == pytest.approx(wave, rel=1e-12)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize(("start", "end"), [(2.0, 0.5), (0.0, 3e-4), (1.0, 1.0)])
def test_it_is_constant_before_and_after(shape: str, start: float, end: float) -> None:
    changing = schedule(start=start, end=end, since=10, shape=shape)
    assert {changing.at(step) for step in (0, 5, 10)} == {start}
    assert {changing.at(step) for step in (30, 31, 1_000_000)} == {end}


def test_it_starts_with_the_run_unless_told_otherwise() -> None:
    assert schedule().since == 0
    assert schedule().at(0) == 2.0
    assert schedule().at(15) == pytest.approx(1.25)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_a_cosine_wave_meets_the_line_at_the_middle_and_lags_before_it(shape: str) -> None:
    falling = schedule(shape=shape)
    assert falling.at(15) == pytest.approx(1.25)
    assert falling.at(5) + falling.at(25) == pytest.approx(2.5)  # odd about the middle
    line = 2.0 - 1.5 * 5 / 30
    assert (falling.at(5) > line + 0.1) == (shape == "cosine")
    assert all(falling.at(step + 1) < falling.at(step) for step in range(30))


@pytest.mark.parametrize(("since", "until"), [(0, 0), (30, 30), (31, 30), (-1, 30), (0, -5)])
def test_a_schedule_that_ends_before_it_starts_is_refused(since: int, until: int) -> None:
    with pytest.raises(ValueError, match=f"since={since} must be at least 0 and below until={until}"):
        schedule(since=since, until=until)


def test_a_tuple_may_hold_schedules_and_everything_else_stays_as_it_is() -> None:
    rising = schedule(start=0.0, end=0.9, until=10)
    assert value_at((rising, 0.999), 5) == (pytest.approx(0.45), 0.999)
    assert value_at((0.5, (rising, rising)), 10) == (0.5, (0.9, 0.9))
    assert value_at(rising, 5) == pytest.approx(0.45)
    for constant in (2e-4, 3, True, None, (0.5, 0.9)):
        assert value_at(constant, 7) == constant


@pytest.mark.parametrize(("factor", "every"), [(0.5, 10), (0.1, 3), (0.99, 1)])
def test_stairs_are_those_of_torch(factor: float, every: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=0.2)
    stepping = torch.optim.lr_scheduler.StepLR(optimizer, step_size=every, gamma=factor)
    stairs = Stairs(start=0.2, factor=factor, every=every)
    for step in range(35):
        assert stairs.at(step) == pytest.approx(stepping.get_last_lr()[0], rel=1e-12)
        assert stairs.at(step) == pytest.approx(0.2 * factor ** math.floor(step / every), rel=1e-12)
        optimizer.step()
        stepping.step()
    assert stairs.at(LAST_STEP) == 0.0


@pytest.mark.parametrize(("factor", "every"), [(0.0, 5), (1.0, 5), (-0.5, 5), (math.nan, 5), (0.5, 0), (0.5, -1)])
def test_stairs_that_do_not_fall_are_refused(factor: float, every: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Stairs(start=1.0, factor=factor, every=every)


def test_stairs_read_as_yaml_has_them() -> None:
    assert str(Stairs(start=1.0, factor=0.5, every=9)) == "{start: 1.0, factor: 0.5, every: 9}"


def test_after_a_half_life_half_of_an_average_is_left() -> None:
    constant = HalfLife(start=50.0, end=50.0, until=1, shape="cosine")
    assert constant.at(7) ** 50 == pytest.approx(0.5, rel=1e-12)
    growing = HalfLife(start=0.0, end=100.0, until=1000, shape="linear")
    assert growing.at(0) == 0.0
    assert growing.at(500) ** 50 == pytest.approx(0.5, rel=1e-12)
    assert growing.at(LAST_STEP) ** 100 == pytest.approx(0.5, rel=1e-12)
    with pytest.raises(ValueError, match="half-lives in steps"):
        HalfLife(start=0.0, end=-1.0, until=10, shape="linear")
