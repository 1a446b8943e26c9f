"""Statistics over a few seeds: of a method, of the differences between methods, and of their ranks.

docs/statistics.md says why these tests and intervals; `benchmarks/coverage.py` measures them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations, product
from statistics import fmean, stdev, variance
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import nct, rankdata
from scipy.stats import t as student

NUM_RESAMPLES = 19_999  # of a permutation test with more relabellings than that
CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE  # of all tests of a family together
POWER = 0.8
MOST_SEEDS = 1000  # that are said to be needed
LARGEST = 1e100
ALIKE = 1e-9  # relative; two statistics that differ by rounding are one
Scores = Mapping[Any, float]  # by seed
Verdict = Literal["lower", "higher", "equivalent", "cannot tell"]
Array = NDArray[np.float64]
Key = TypeVar("Key")


@dataclass(frozen=True)
class Spread:
    """`n` finite values; `std` is the sample standard deviation, with n - 1, and None for one value."""

    n: int
    mean: float
    std: float | None
    low: float
    high: float


def spread(values: Iterable[Any]) -> Spread | None:
    """The spread of the values that are finite numbers; None if there are none."""
    kept = [float(value) for value in values if is_number(value)]
    if not kept:
        return None
    return Spread(len(kept), fmean(kept), stdev(kept) if len(kept) > 1 else None, min(kept), max(kept))


def split(runs: Sequence[Sequence[float]]) -> tuple[float, float | None] | None:
    """The variances of one evaluation within a run, and of what training makes of a seed, without the former.

    Of runs with equally many scores K each: the mean variance within a run; and the variance of the runs' means minus a
    K-th of it, which is unbiased, and may be negative; None for one run. None if a run has one score.
    """
    if not runs or min(map(len, runs)) < 2:
        return None
    sample = fmean(variance(scores) for scores in runs)
    if len(runs) < 2:
        return sample, None
    return sample, variance(map(fmean, runs)) - sample / len(runs[0])


def is_number(value: Any) -> bool:
    """Whether it is finite, and so small that its square is, too."""
    return isinstance(value, int | float) and abs(value) <= LARGEST


def interval_of_mean(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean by Student's t; 0 for a single value, which has none."""
    if len(values) < 2:
        return 0.0
    return float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5


@dataclass(frozen=True)
class Difference:
    """A method's mean minus the baseline's, and what the seeds can say of it.

    `interval` is the 95 % one of Student's t, without a correction. `p` and `p_equivalent` are corrected for the family
    of comparisons. `detectable` is the smallest difference that would have been shown with a probability of 0.8; None
    if there is none. `seeds`, for "cannot tell", is the number of seeds for each method that would tell; None if none
    up to `MOST_SEEDS` would. `n` is the number of pairs, or the smaller number of seeds.
    """

    mean: float
    interval: tuple[float, float] | None
    n: int
    paired: bool
    p: float | None
    p_equivalent: float | None
    margin: float | None
    detectable: float | None
    seeds: int | None
    verdict: Verdict


def difference(
    method: Scores, baseline: Scores, *, margin: float | None = None, paired: bool = False
) -> Difference | None:
    """The difference of one method, as `differences` gives it in a family of one."""
    return differences({"": method}, baseline, margin=margin, paired=paired).get("")


def differences(
    methods: Mapping[str, Scores],
    baseline: Scores,
    *,
    margin: float | None = None,
    paired: bool = False,
) -> dict[str, Difference]:
    """The difference of each method from the baseline, from scores by seed; none where one of both has no score.

    A score of inf or -inf stands for a run that was lost: means and intervals are without it, and the test is of
    ranks, where it counts as the worst. "lower" and "higher" follow `p_value`, "equivalent" two one-sided t tests of
    the margin (Schuirmann 1987), each corrected over the methods by Holm (1979).
    """
    samples = {name: sides(method, baseline, paired) for name, method in methods.items()}
    means = {name: one for name, (a, b) in samples.items() if (one := Estimate.of(a, b, paired)) is not None}
    found = {name: samples[name] for name in means}
    tested = [name for name, sample in found.items() if min(map(len, sample)) > 1]
    p = holm({name: p_value(*found[name], paired) for name in tested})
    finished = [name for name in tested if whole(*found[name])]
    equivalent = {} if margin is None else holm({name: means[name].p_within(margin) for name in finished})
    return {
        name: told(
            means[name], p.get(name), equivalent.get(name), margin, paired, max(1, len(tested)), is_lower(*found[name])
        )
        for name in found
    }


def sides(method: Scores, baseline: Scores, paired: bool) -> tuple[Array, Array]:
    """The scores of both; of pairs, those of the seeds that both have."""
    seeds = sorted(method.keys() & baseline.keys())
    a, b = ([one[seed] for seed in (seeds if paired else one)] for one in (method, baseline))
    return np.array(a, dtype=float), np.array(b, dtype=float)


def finite(values: Array) -> Array:
    return values[np.isfinite(values)]


@dataclass(frozen=True)
class Estimate:
    """A difference of means, with the variance and the number of what it is the mean of: of pairs, or of each side.

    The standard error and its degrees of freedom are Welch's (1947), which of one sample are Student's.
    """

    mean: float
    variances: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, a: Array, b: Array, paired: bool) -> "Estimate | None":
        """Of the finite ones; None if one side has none."""
        samples = [(a - b)[np.isfinite(a) & np.isfinite(b)]] if paired else [finite(a), finite(b)]
        if not all(map(len, samples)):
            return None
        means = [float(sample.mean()) for sample in samples]
        variances = [float(sample.var(ddof=1)) if len(sample) > 1 else 0.0 for sample in samples]
        return cls(means[0] - sum(means[1:]), tuple(variances), tuple(map(len, samples)))

    def error(self, n: int | None = None) -> float:
        """The standard error, of these seeds or of `n` for each."""
        return math.sqrt(sum(v / (n or count) for v, count in zip(self.variances, self.counts, strict=True)))

    def freedom(self, n: int | None = None) -> float:
        parts = [(v / (n or c), (n or c) - 1) for v, c in zip(self.variances, self.counts, strict=True)]
        below = sum(part**2 / freedom for part, freedom in parts)
        return sum(part for part, _ in parts) ** 2 / below if below > 0 else float(sum(f for _, f in parts))

    def interval(self) -> tuple[float, float] | None:
        if min(self.counts) < 2:
            return None
        half = float(student.ppf((1 + CONFIDENCE) / 2, self.freedom())) * self.error()
        return self.mean - half, self.mean + half

    def p(self) -> float:
        """Of the two-sided t test that there is no difference; 0 where the scores have no spread."""
        error = self.error()
        return float(2 * student.sf(abs(self.mean) / error, self.freedom())) if error else 0.0

    def p_within(self, margin: float) -> float:
        """Of two one-sided tests that the difference is beyond -margin or margin: the larger p (Schuirmann 1987).

        Scores that are all alike, which few seeds may be by chance, have the p value of the clearest permutation.
        """
        inside, error = margin - abs(self.mean), self.error()
        if error == 0:
            return smallest_p(self.counts) if inside > 0 else 1.0
        return float(student.sf(inside / error, self.freedom()))

    def detectable(self, level: float, n: int | None = None) -> float:
        """The smallest difference that a two-sided t test shows with a probability of 0.8."""
        error = self.error(n)
        return error * shift(self.freedom(n), level / 2) if error else 0.0

    def power_within(self, margin: float, level: float, n: int) -> float:
        """A lower bound of the probability that two one-sided tests show what is seen now, if it is the truth."""
        error, freedom = self.error(n), self.freedom(n)
        if error == 0:
            return float(abs(self.mean) < margin and smallest_p((n,) * len(self.counts)) <= level)
        critical = float(student.isf(level, freedom))
        ends = ((margin - self.mean) / error, (margin + self.mean) / error)
        return sum(1.0 if end > 30 + critical else float(nct.sf(critical, freedom, end)) for end in ends) - 1


def told(
    means: Estimate,
    p: float | None,
    equivalent: float | None,
    margin: float | None,
    paired: bool,
    num_tests: int,
    lower: bool,
) -> Difference:
    level, n = LEVEL / num_tests, min(means.counts)
    verdict: Verdict = "cannot tell"
    if p is not None and p <= LEVEL:
        verdict = "lower" if lower else "higher"
    elif equivalent is not None and equivalent <= LEVEL:
        verdict = "equivalent"
    shows = n > 1 and smallest_p(means.counts) <= level
    return Difference(
        mean=means.mean,
        interval=means.interval(),
        n=n,
        paired=paired,
        p=p,
        p_equivalent=equivalent,
        margin=margin,
        detectable=means.detectable(level) if shows else None,
        seeds=seeds_to_tell(means, margin, level) if verdict == "cannot tell" and n > 1 else None,
        verdict=verdict,
    )


def apart(methods: Mapping[str, Scores], paired: bool = False) -> set[tuple[str, str]]:
    """The pairs (lower, higher) of methods that the test tells apart, corrected over all pairs by Holm."""
    p, order = {}, {}
    for one, other in combinations(methods, 2):
        a, b = sides(methods[one], methods[other], paired)
        if min(len(a), len(b)) > 1:
            p[one, other] = p_value(a, b, paired)
            order[one, other] = (one, other) if is_lower(a, b) else (other, one)
    return {order[pair] for pair, corrected in holm(p).items() if corrected <= LEVEL}


def groups(methods: Sequence[str], pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The largest groups in which no pair is told apart, in the order of the methods.

    By inserting and absorbing (Piepho 2004, Journal of Computational and Graphical Statistics 13, 456).
    """
    found = [set(methods)]
    for one, other in pairs:
        split = [group - {name} for group in found if {one, other} <= group for name in (one, other)]
        kept = [group for group in found if not {one, other} <= group]
        for group in split:
            if not any(group <= larger for larger in kept):
                kept = [smaller for smaller in kept if not smaller <= group] + [group]
        found = kept
    listed = [[name for name in methods if name in group] for group in found]
    return sorted(listed, key=lambda group: [methods.index(name) for name in group])


def seeds_to_tell(means: Estimate, margin: float | None, level: float) -> int | None:
    """The fewest seeds for each that show, with a probability of 0.8, the difference or that it is within the margin.

    If the difference and the variances of these seeds are the truth; at least one more than now. None if more than
    `MOST_SEEDS` are needed.
    """

    def tells(n: int) -> bool:
        counts = (n,) * len(means.counts)
        if means.mean and means.detectable(level, n) <= abs(means.mean) and smallest_p(counts) <= level:
            return True
        return margin is not None and abs(means.mean) < margin and means.power_within(margin, level, n) >= POWER

    fewest, most = min(means.counts), MOST_SEEDS
    if fewest >= most or not tells(most):
        return None
    while most - fewest > 1:
        middle = (fewest + most) // 2
        fewest, most = (fewest, middle) if tells(middle) else (middle, most)
    return most


@cache
def shift(freedom: float, level: float) -> float:
    """How far Student's t must be shifted to be beyond its quantile of this level with a probability of 0.8."""
    critical = float(student.isf(level, freedom))
    return float(brentq(lambda by: nct.sf(critical, freedom, by) - POWER, 0.0, 3 * critical + 3))


def p_value(a: Array, b: Array, paired: bool = False) -> float:
    """The larger p value of the permutation test and of Welch's t test, or of pairs Student's: both have to agree.

    A permutation test is exact for two methods of one law; of methods with very different SDs it says too often that
    they differ, which Welch's does not. With lost runs it is the permutation test of ranks alone.
    """
    estimate = Estimate.of(a, b, paired)
    by_t = estimate.p() if estimate is not None and whole(a, b) else 0.0
    return max(permutation_p(a, b, paired), by_t)


def permutation_p(a: Array, b: Array, paired: bool = False) -> float:
    """The p value of the two-sided permutation test that two methods have one law; of pairs, of sign flips.

    The statistic is Welch's t (Janssen 1997), of all relabellings, or of `NUM_RESAMPLES` random ones with a fixed
    seed, and then p is (b + 1) / (m + 1) (Phipson and Smyth 2010). With lost runs it is of ranks, and not paired.
    """
    if paired and whole(a, b):
        signs, exact = sign_flips(len(a))
        pairs = (a - b) / max(float(np.abs(a - b).max()), np.finfo(float).tiny)
        statistics, observed = np.abs(signs @ pairs), abs(pairs.sum())
    else:
        pooled = np.concatenate([a, b]) if whole(a, b) else ranks(a, b)
        pooled = pooled - pooled.mean()
        pooled /= max(float(np.abs(pooled).max()), np.finfo(float).tiny)
        chosen, exact = relabellings(len(a), len(b))
        own = np.zeros(len(pooled))
        own[: len(a)] = 1.0
        statistics, (observed,) = separations(chosen, pooled), separations(own[None], pooled)
    least = observed - ALIKE * max(1.0, float(statistics.max()))
    extreme = int((statistics >= least).sum())
    return extreme / len(statistics) if exact else (extreme + 1) / (len(statistics) + 1)


def whole(a: Array, b: Array) -> bool:
    """Whether no run was lost."""
    return bool(np.isfinite(a).all() and np.isfinite(b).all())


def separations(chosen: Array, pooled: Array) -> Array:
    """t² / (1 + t²), with Welch's t of the values in and out of each row of `chosen`: it is 1 where t is infinite."""
    sizes = (len(chosen[0]) - chosen[0].sum(), chosen[0].sum())
    inside, squares = chosen @ pooled, chosen @ pooled**2
    sums = ((pooled.sum() - inside, (pooled**2).sum() - squares), (inside, squares))
    means = [total / size for (total, _), size in zip(sums, sizes, strict=True)]
    errors = sum(
        np.maximum(square / size - mean**2, 0.0) / max(size - 1, 1.0)
        for (_, square), mean, size in zip(sums, means, sizes, strict=True)
    )
    apart = (means[1] - means[0]) ** 2
    return np.divide(apart, apart + errors, out=np.zeros_like(apart), where=apart > ALIKE**2)


def ranks(a: Array, b: Array) -> Array:
    """The ranks of all values together; equal ones, such as lost runs, have the mean of theirs."""
    return np.asarray(rankdata(np.concatenate([a, b])), dtype=float)


def is_lower(a: Array, b: Array) -> bool:
    """Whether the first ones are lower, in the mean; in the mean of ranks if there are lost runs."""
    if whole(a, b):
        return bool(a.mean() < b.mean())
    both = ranks(a, b)
    return bool(both[: len(a)].mean() < both[len(a) :].mean())


@lru_cache(maxsize=16)
def relabellings(size: int, other: int) -> tuple[Array, bool]:
    """Choices of `size` among all, as rows of 0 and 1, and whether these are all that there are."""
    total = size + other
    if math.comb(total, size) <= NUM_RESAMPLES + 1:
        rows = np.array(list(combinations(range(total), size)))
        chosen = np.zeros((len(rows), total))
        np.put_along_axis(chosen, rows, 1.0, axis=1)
        return chosen, True
    first = np.tile(np.arange(total) < size, (NUM_RESAMPLES, 1)).astype(float)
    return np.random.default_rng(0).permuted(first, axis=1), False


@lru_cache(maxsize=16)
def sign_flips(n: int) -> tuple[Array, bool]:
    if 2**n <= NUM_RESAMPLES + 1:
        return np.array(list(product((1.0, -1.0), repeat=n))), True
    return np.random.default_rng(0).choice((1.0, -1.0), size=(NUM_RESAMPLES, n)), False


def fewest_seeds(num_tests: int, paired: bool) -> int | None:
    """The number of seeds for each method with which one of this many tests can show anything; None beyond 1,000."""
    each = 1 if paired else 2
    return next((n for n in range(2, MOST_SEEDS + 1) if num_tests * smallest_p((n,) * each) <= LEVEL), None)


def smallest_p(counts: Sequence[int]) -> float:
    """The p value of the clearest outcome: all signs alike, or all scores of one method on one side."""
    outcomes = 2 ** counts[0] if len(counts) == 1 else math.comb(sum(counts), counts[0])
    return 2 / outcomes if outcomes <= NUM_RESAMPLES + 1 else max(2 / outcomes, 1 / (NUM_RESAMPLES + 1))


def holm(p: Mapping[Key, float]) -> dict[Key, float]:
    """Holm's step-down correction (1979, A simple sequentially rejective multiple test procedure)."""
    corrected: dict[Key, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p, key=lambda one: p[one])):
        highest = max(highest, min(1.0, (len(p) - place) * p[name]))
        corrected[name] = highest
    return corrected
