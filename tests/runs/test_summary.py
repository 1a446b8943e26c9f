"""The best checkpoint and the spread of a run's scores."""

import math
from typing import Any

import pytest

from gan_cli.runs.summary import best_record, trajectory


def evaluations(*values: float) -> list[dict[str, Any]]:
    return [{"step": 0, "losses": {}}] + [
        {"step": step, "metrics": {"m": value}} for step, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize(
    ("values", "lower_is_better", "step"),
    [
        ((2.0, 1.0, 3.0), True, 2),
        ((2.0, 1.0, 3.0), False, 3),
        ((1.0, 1.0, 3.0), True, 2),
        ((math.nan, 2.0, 3.0), True, 2),
        ((2.0, math.nan), False, 1),
    ],
)
def test_best_record(values: tuple[float, ...], lower_is_better: bool, step: int) -> None:
    best = best_record(evaluations(*values), "m", lower_is_better)
    assert best is not None
    assert best["step"] == step


def test_there_is_no_best_of_nothing() -> None:
    assert best_record(evaluations(), "m", True) is None
    assert best_record(evaluations(math.nan), "m", True) is None


def test_trajectory() -> None:
    assert trajectory(evaluations(1.0, 2.0, 6.0)) == {
        "m": {"min": 1.0, "max": 6.0, "mean": 3.0, "std": pytest.approx(14**0.5 / 3**0.5)}
    }
