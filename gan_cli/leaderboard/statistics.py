"""Statistics over a few seeds: of a method, and of the difference between two methods."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np
from scipy.stats import bootstrap
from scipy.stats import t as student

NUM_RESAMPLES = 9999
CONFIDENCE = 0.95
LARGEST = 1e100
Verdict = Literal["too few seeds to tell", "no difference shown", "lower", "higher"]


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
    """A method's mean minus the baseline's, with a bootstrap interval over seeds; `n` pairs, or the smaller n."""

    mean: float
    interval: tuple[float, float] | None
    n: int
    paired: bool
    verdict: Verdict


def difference(method: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Scores by seed. Paired over the seeds that both have, if there are at least two; None if one has no scores.

    The interval is the 95 % percentile bootstrap's (Efron and Tibshirani 1993, chapter 13). The exact permutation test
    says whether there are enough seeds: there are too few if even the clearest outcome (all signs equal, or all scores
    of one method on one side) has a probability above 5 %.
    """
    shared = sorted(method.keys() & baseline.keys())
    paired = len(shared) > 1
    if paired:
        a, b = np.array([method[seed] for seed in shared]), np.array([baseline[seed] for seed in shared])
        clearest = 2 / 2 ** len(shared)
    else:
        a, b = np.array(list(method.values())), np.array(list(baseline.values()))
        clearest = 2 / math.comb(len(a) + len(b), len(a))
    if not len(a) or not len(b):
        return None
    mean = float(a.mean() - b.mean())
    interval = bootstrap_interval(a, b, paired) if min(len(a), len(b)) > 1 else None
    verdict: Verdict = "no difference shown"
    if interval is None or clearest > 1 - CONFIDENCE:
        verdict = "too few seeds to tell"
    elif interval[1] < 0:
        verdict = "lower"
    elif interval[0] > 0:
        verdict = "higher"
    return Difference(mean, interval, min(len(a), len(b)), paired, verdict)


def bootstrap_interval(a: Any, b: Any, paired: bool) -> tuple[float, float]:
    """The interval; the resampling has a fixed seed, so that it is the same for the same numbers."""
    result = bootstrap(
        (a, b),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        paired=paired,
        vectorized=True,
        n_resamples=NUM_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
