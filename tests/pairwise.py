"""Cases of a test, of which few are quick: those in which every two choices meet, or every third one."""

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any

import pytest

Case = tuple[Any, ...]


def every_three(first: Sequence[Any], *others: Sequence[Any]) -> list[Any]:
    """Parameters of a test in which every three choices of four groups meet, those outside the pairwise cover slow.

    All combinations of the other groups, and in turn one of `first`, which is the smallest: as any one of the others
    goes through its choices, so does `first`.
    """
    assert all(len(first) <= len(group) for group in others)
    numbered = product(*(enumerate(group) for group in others))
    return marked([(first[sum(n for n, _ in case) % len(first)], *(choice for _, choice in case)) for case in numbered])


def every_third_quick(cases: Iterable[Any], *, of_one_value: bool = False, thirds: int = 1) -> list[Any]:
    """Parameters of a test: the cases, only every third quick. A case is a tuple, unless it is `of_one_value`.

    Of a test that takes long every sixth: `thirds` is 2.
    """
    return [
        pytest.param(*([case] if of_one_value else case), marks=[pytest.mark.slow] if number % (3 * thirds) else [])
        for number, case in enumerate(cases)
    ]


def marked(cases: Sequence[Case]) -> list[Any]:
    """The cases, those outside their pairwise cover marked slow."""
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
