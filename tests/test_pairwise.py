"""The quick cases leave no pair of choices out, and they are few."""

from itertools import combinations, product

import pytest

from .pairwise import every_third_quick, every_three, marked, pairwise_cover

GROUPS = [["a", "b", "c", "d"], ["a", "b", "c"], [True, False], [1]]


@pytest.mark.parametrize("groups", [GROUPS, GROUPS[:2], [range(9), range(8), range(6), range(5)]])
def test_every_pair_of_choices_meets(groups: list[list[object]]) -> None:
    cover = pairwise_cover(list(product(*groups)))
    for first, second in combinations(range(len(groups)), 2):
        assert {(case[first], case[second]) for case in cover} == set(product(groups[first], groups[second]))


def test_the_cover_is_small_and_always_the_same() -> None:
    groups = [range(9), range(8), range(6), range(5)]
    cover = pairwise_cover(list(product(*groups)))
    assert 9 * 8 <= len(cover) < 1.25 * 9 * 8
    assert cover == pairwise_cover(list(product(*groups)))
    assert len(set(cover)) == len(cover)


def test_the_other_combinations_are_slow() -> None:
    cases = marked(list(product(*GROUPS)))
    quick = [case.values for case in cases if not case.marks]
    slow = [case.values for case in cases if [mark.name for mark in case.marks] == ["slow"]]
    assert sorted(quick) == sorted(pairwise_cover(list(product(*GROUPS))))
    assert sorted(quick + slow) == sorted(product(*GROUPS))


def test_every_three_choices_meet() -> None:
    groups = [range(5), range(9), range(6), range(7)]
    cases = every_three(*groups)
    assert len(cases) == 9 * 6 * 7
    for places in combinations(range(4), 3):
        met = {tuple(case.values[place] for place in places) for case in cases}
        assert met == set(product(*(groups[place] for place in places)))
    quick = [case.values for case in cases if not case.marks]
    for first, second in combinations(range(4), 2):
        assert {(case[first], case[second]) for case in quick} == set(product(groups[first], groups[second]))
    assert len(quick) < 1.5 * 9 * 7


def test_every_third_case_is_quick_and_none_is_lost() -> None:
    pairs = every_third_quick([(1, "a"), (2, "b"), (3, "c"), (4, "d")])
    assert [case.values for case in pairs] == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert [bool(case.marks) for case in pairs] == [False, True, True, False]
    assert [case.values for case in every_third_quick([["a"], ["b"]], of_one_value=True)] == [(["a"],), (["b"],)]
