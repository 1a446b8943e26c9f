"""Runs of this release are those of the last one: a changed seed, order or formula is seen here."""

import json
from typing import Any

import pytest

from . import pinned

STORED: dict[str, Any] = json.loads(pinned.FILE.read_text())


def test_seeds_and_the_order_of_data() -> None:
    assert pinned.seeds() == STORED["seeds"]
    assert pinned.order() == STORED["order"]


def test_evaluation_latents_and_initial_weights() -> None:
    for place, codes in pinned.evaluation_latents().items():
        assert codes == pytest.approx(STORED["evaluation latents"][place], rel=1e-6)
    assert pinned.weights() == pytest.approx(STORED["initial weights"], rel=1e-6)


@pytest.mark.parametrize("objective", pinned.objectives())
def test_the_first_losses(objective: str) -> None:
    assert pinned.trace(objective) == pytest.approx(STORED["losses"][objective], rel=1e-4, abs=1e-4)


def test_every_objective_is_pinned() -> None:
    assert list(STORED["losses"]) == pinned.objectives()
