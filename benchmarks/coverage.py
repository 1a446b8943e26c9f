"""What the intervals and tests of a table are worth at few seeds, on simulated scores of known laws, as tables.

python benchmarks/coverage.py [simulations]   With 2,000, the default, a share of 5 % has a standard error of 0.5.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, ttest_1samp, ttest_ind

from gan_cli.leaderboard.statistics import (
    CONFIDENCE,
    LEVEL,
    Estimate,
    holm,
    p_value,
    permutation_p,
    relabellings,
    shift,
)

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
SEEDS = (3, 5, 8, 16)
SIMULATIONS = 2000
NUM_BOOTSTRAPPED = 1000  # of the simulations: a bootstrap takes long
NUM_RESAMPLES = 999
NUM_METHODS = 10
SHARED = 0.5  # the correlation of pairs, where there is one


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape)


def lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Skewness 6.2, as of scores among which a bad seed is much worse; mean 0 and SD 1."""
    return np.asarray((np.exp(rng.standard_normal(shape)) - np.exp(0.5)) / np.sqrt(np.e * (np.e - 1)))


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Student's t with 3 degrees of freedom, SD 1."""
    return np.asarray(rng.standard_t(3, shape) / np.sqrt(3))


def wide(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return 4 * rng.standard_normal(shape)


LAWS: dict[str, tuple[Draw, Draw]] = {  # of a method and of the baseline, both of mean 0
    "normal": (normal, normal),
    "lognormal": (lognormal, lognormal),
    "lognormal, normal": (lognormal, normal),
    "t3": (heavy, heavy),
    "normal, SD 4 and 1": (wide, normal),
}


def simulated(law: str, n: int, number: int, correlated: bool = False) -> Iterator[tuple[Array, Array]]:
    """Scores of a method and of the baseline, by seed; with `correlated` half of the variance is the seed's own."""
    rng = np.random.default_rng([n, list(LAWS).index(law), correlated])
    first, second = LAWS[law]
    for _ in range(number):
        common = rng.standard_normal(n) if correlated else np.zeros(n)
        weight = SHARED**0.5 if correlated else 0.0
        own = (1 - weight**2) ** 0.5
        yield own * first(rng, (n,)) + weight * common, own * second(rng, (n,)) + weight * common


def by_t(a: Array, b: Array, paired: bool) -> tuple[float, float]:
    estimate = Estimate.of(a, b, paired)
    assert estimate is not None
    interval = estimate.interval()
    assert interval is not None
    return interval


def by_bootstrap(a: Array, b: Array, paired: bool, method: str) -> tuple[float, float]:
    found = bootstrap(
        (a - b,) if paired else (a, b),
        (lambda x, axis: x.mean(axis)) if paired else (lambda x, y, axis: x.mean(axis) - y.mean(axis)),
        vectorized=True,
        n_resamples=NUM_RESAMPLES,
        confidence_level=CONFIDENCE,
        method=method,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


INTERVALS: dict[str, Callable[[Array, Array, bool], tuple[float, float]]] = {
    "t": by_t,
    "BCa": partial(by_bootstrap, method="BCa"),
    "percentile": partial(by_bootstrap, method="percentile"),
}


def covered(law: str, n: int, paired: bool, interval: str, number: int) -> float:
    """The share of intervals that hold the difference of the means, which is 0."""
    count = number if interval == "t" else min(number, NUM_BOOTSTRAPPED)
    found = [INTERVALS[interval](a, b, paired) for a, b in simulated(law, n, count)]
    return float(np.mean([low <= 0 <= high for low, high in found]))


def unstudentised(a: Array, b: Array) -> float:
    """A permutation test of the difference of means, for comparison."""
    pooled = np.concatenate([a, b])
    pooled = pooled - pooled.mean()
    chosen, exact = relabellings(len(a), len(b))
    sums = np.abs(chosen @ pooled)
    extreme = int((sums >= abs(pooled[: len(a)].sum()) * (1 - 1e-12)).sum())
    return extreme / len(sums) if exact else (extreme + 1) / (len(sums) + 1)


TESTS: dict[str, Callable[[Array, Array], float]] = {
    "both": p_value,  # the larger p of the next two: what tables print
    "relabelling": permutation_p,
    "Welch's t": lambda a, b: float(ttest_ind(a, b, equal_var=False).pvalue),
    "sign flips of pairs": partial(permutation_p, paired=True),
    "t of pairs": lambda a, b: float(ttest_1samp(a - b, 0.0).pvalue),
}


def shown(
    test: str, law: str, n: int, number: int, by: float = 0.0, level: float = LEVEL, *, correlated: bool
) -> float:
    """The share of p values up to the level, where the method's mean is `by` above the baseline's."""
    return float(np.mean([TESTS[test](a + by, b) <= level for a, b in simulated(law, n, number, correlated)]))


def unequal(
    test: Callable[[Array, Array], float],
    number: int,
    first: tuple[int, float],
    second: tuple[int, float],
    level: float,
) -> float:
    """The share of p values up to the level for normal scores of one mean, of these numbers and SDs."""
    rng = np.random.default_rng(0)
    sides = ([sd * rng.standard_normal(n) for n, sd in (first, second)] for _ in range(number))
    return float(np.mean([test(a, b) <= level for a, b in sides]))


def false_alarm(test: str, n: int, number: int) -> float:
    """The share of families of ten methods equal to the baseline, in which Holm's correction lets one differ."""
    rng = np.random.default_rng(n)
    wrong = 0
    for _ in range(number):
        baseline = rng.standard_normal(n)
        p = {str(k): TESTS[test](rng.standard_normal(n), baseline) for k in range(NUM_METHODS)}
        wrong += min(holm(p).values()) <= LEVEL
    return wrong / number


def family_power(test: str, n: int, number: int, by: float) -> float:
    """The share of methods shown, of one in ten that is `by` SD above the baseline; the others equal it."""
    rng = np.random.default_rng(n)
    right = 0
    for _ in range(number):
        baseline = rng.standard_normal(n)
        p = {str(k): TESTS[test](rng.standard_normal(n) + by * (k == 0), baseline) for k in range(NUM_METHODS)}
        right += holm(p)["0"] <= LEVEL
    return right / number


def equivalence(n: int, number: int, truth: float, margin: float) -> float:
    """The share that is called equivalent, at this true difference and margin in SDs."""
    rng = np.random.default_rng(n)
    found = 0
    for _ in range(number):
        estimate = Estimate.of(rng.standard_normal(n) + truth, rng.standard_normal(n), False)
        assert estimate is not None
        found += estimate.p_within(margin) <= LEVEL
    return found / number


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def table(title: str, header: list[str], rows: Iterator[list[str]] | list[list[str]]) -> None:
    print(f"\n{title}\n", flush=True)
    print(f"| {' | '.join(header)} |\n| --- |{' ---: |' * (len(header) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else SIMULATIONS
    columns = [f"n = {n}" for n in SEEDS]
    for paired in (False, True):
        rows = (
            [law, kind, *(percent(covered(law, n, paired, kind, number)) for n in SEEDS)]
            for law in LAWS
            for kind in INTERVALS
        )
        table(
            f"Coverage of 95 % intervals, %, {'paired' if paired else 'unpaired'}", ["law", "interval", *columns], rows
        )
    rows = (
        [law, test, *(percent(shown(test, law, n, number, correlated=False)) for n in SEEDS)]
        for law in LAWS
        for test in TESTS
    )
    table(
        "Falsely lower or higher at 5 %, % (the laws are equal, or only their means)", ["law", "test", *columns], rows
    )
    cases = ((5, 4.0), (8, 1.0)), ((5, 1.0), (8, 4.0)), ((8, 50.0), (8, 1.0)), ((16, 50.0), (16, 1.0))
    tests = {
        "both": p_value,
        "relabelling": permutation_p,
        "relabelling, by the difference of means": unstudentised,
        "Welch's t": TESTS["Welch's t"],
    }
    for level in (LEVEL, LEVEL / NUM_METHODS):
        table(
            f"Falsely lower or higher at {100 * level:g} %, %, normal, with these numbers and SDs",
            ["test", *(f"{n} x {sd:g}, {m} x {other:g}" for (n, sd), (m, other) in cases)],
            ([name, *(percent(unequal(test, number, *case, level)) for case in cases)] for name, test in tests.items()),
        )
    for correlated in (False, True):
        rows = (
            [test, *(percent(shown(test, "normal", n, number, 2.0, correlated=correlated)) for n in SEEDS)]
            for test in TESTS
        )
        told = f"correlated {SHARED}" if correlated else "independent"
        table(f"Power for a difference of 2 SD, one comparison, %, seeds {told}", ["test", *columns], rows)
    few = number // 2
    table(
        "Ten methods and Holm: any of ten equal ones falsely lower or higher, %",
        ["test", *columns],
        ([test, *(percent(false_alarm(test, n, few)) for n in SEEDS)] for test in TESTS),
    )
    table(
        "Ten methods and Holm: power for one that is 2 SD from the baseline, %",
        ["test", *columns],
        ([test, *(percent(family_power(test, n, few, 2.0)) for n in SEEDS)] for test in TESTS),
    )
    smallest = {n: (2 / n) ** 0.5 * shift(2 * n - 2, LEVEL / 2) for n in SEEDS}
    table(
        "Power at the printed smallest difference, one comparison, %",
        ["", *columns],
        [
            ["difference, SD", *(f"{smallest[n]:.2f}" for n in SEEDS)],
            [
                "power",
                *(percent(shown("both", "normal", n, number, smallest[n], correlated=False)) for n in SEEDS),
            ],
        ],
    )
    table(
        "Called equivalent within 2 SD, %",
        ["true difference", *columns],
        ([f"{truth:g} SD", *(percent(equivalence(n, number, truth, 2.0)) for n in SEEDS)] for truth in (0.0, 1.0, 2.0)),
    )


if __name__ == "__main__":
    main()
