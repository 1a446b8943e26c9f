"""The exhaustive product of some choices, of which few cases are quick: those in which every two choices meet."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest

Case = tuple[Any, ...]


def every_pair_quick(*groups: Sequence[Any]) -> list[Any]:
    """Parameters of a test: all combinations, those outside the pairwise cover marked slow."""
    quick = set(pairwise_cover(*groups))
    return [pytest.param(*case, marks=[] if case in quick else [pytest.mark.slow]) for case in product(*groups)]


def pairwise_cover(*groups: Sequence[Any]) -> list[Case]:
    """Cases in which every choice of a group meets every choice of each other group.

    Always takes the first case that has the most pairs not yet met, so that the cover is the same every time.
    """
    candidates = {case: pairs(case) for case in product(*groups)}
    unmet = set().union(*candidates.values())
    cover = []
    while unmet:
        best = max(candidates, key=lambda case: len(candidates[case] & unmet))
        unmet -= candidates.pop(best)
        cover.append(best)
    return cover


def pairs(case: Case) -> set[tuple[tuple[int, Any], ...]]:
    return set(combinations(enumerate(case), 2))
