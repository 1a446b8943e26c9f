"""Cases of choices that meet: all of them, or every three of them; few are quick: those in which every two meet."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest

Case = tuple[Any, ...]


def every_pair_quick(*groups: Sequence[Any]) -> list[Any]:
    """Parameters of a test: all combinations, those outside the pairwise cover marked slow."""
    return marked(list(product(*groups)))


def every_three(first: Sequence[Any], *others: Sequence[Any]) -> list[Any]:
    """Parameters of a test in which every three choices of four groups meet, those outside the pairwise cover slow.

    All combinations of the other groups, and in turn one of `first`, which is the smallest: as any one of the others
    goes through its choices, so does `first`.
    """
    assert all(len(first) <= len(group) for group in others)
    numbered = product(*(enumerate(group) for group in others))
    return marked([(first[sum(n for n, _ in case) % len(first)], *(choice for _, choice in case)) for case in numbered])


def marked(cases: Sequence[Case]) -> list[Any]:
    quick = set(pairwise_cover(cases))
    return [pytest.param(*case, marks=[] if case in quick else [pytest.mark.slow]) for case in cases]


def pairwise_cover(cases: Sequence[Case]) -> list[Case]:
    """Some of the cases, in which every two choices meet that meet in any.

    Always takes the first case that has the most pairs not yet met, so that the cover is the same every time.
    """
    candidates = {case: pairs(case) for case in cases}
    unmet = set().union(*candidates.values())
    cover = []
    while unmet:
        best = max(candidates, key=lambda case: len(candidates[case] & unmet))
        unmet -= candidates.pop(best)
        cover.append(best)
    return cover


def pairs(case: Case) -> set[tuple[tuple[int, Any], ...]]:
    return set(combinations(enumerate(case), 2))
