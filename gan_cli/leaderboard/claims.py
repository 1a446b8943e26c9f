"""The claim of a study: rules that read its finished runs, intervals over seeds, and the word that they end in.

A rule computes one number for each seed. Its 95 % interval is Student's, over the seeds: a number that is a mean over
runs, or a slope, is nearly normal whatever its runs' scores are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import log10
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy.stats import spearmanr

from gan_cli.errors import UserError
from gan_cli.leaderboard.results import Result
from gan_cli.leaderboard.statistics import interval_of_mean, is_number
from gan_cli.sweep.formats import Word
from gan_cli.text import printable

if TYPE_CHECKING:
    from gan_cli.sweep.formats import Claim, Rule

Kind = Literal["value", "difference", "trend", "interaction", "correlation"]
By = dict[int, float]  # a number by seed
READINGS = ("last", "best", "mean", "min", "max", "floor", "cost", "loss", "gradient_norm")


@dataclass(frozen=True)
class Part:
    """What one rule found: the mean over `n` seeds, with its interval if there are two or more."""

    says: str
    expected: str
    mean: float | None
    interval: list[float] | None
    n: int
    word: Word


def parts_of(claim: "Claim", results: Sequence[Result]) -> list[Part]:
    """Each rule of the claim, applied to the completed runs.

    Raises UserError for a rule that cannot be understood.
    """
    runs = [result for result in results if result.state == "completed"]
    return [judged(rule, runs) for written in claim["rules"] for rule in spelled_out(written)]


def overall(parts: Sequence[Part]) -> Word:
    """`shown` if every part is; `contradicted` if a part is and none is shown."""
    words = {part.word for part in parts}
    if words == {"shown"}:
        return "shown"
    return "contradicted" if "contradicted" in words and "shown" not in words else "not shown"


def spelled_out(rule: "Rule") -> "list[Rule]":
    """The rule once for each combination of the values in `each`; `{key}` stands for the value in texts and `than`."""
    axes = rule.get("each", {})
    found = []
    for values in product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        one: Any = filled(dict(rule), chosen)
        one["where"] = one.get("where", {}) | chosen
        found.append(one)
    return found


def filled(value: Any, chosen: Mapping[str, Any]) -> Any:
    """The value with its texts filled in, at any depth."""
    if isinstance(value, dict):
        return {key: filled(inner, chosen) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, chosen) for inner in value]
    if isinstance(value, str):
        for key, setting in chosen.items():
            value = value.replace(f"{{{key}}}", str(setting))
    return value


def judged(rule: "Rule", runs: Sequence[Result]) -> Part:
    own = [run for run in runs if fits(run, rule.get("where", {}))]
    found = RULES[rule["rule"]](rule, own, runs)
    values = list(found.values())
    expected = rule["expected"]
    shown = expected if isinstance(expected, str) else f"{expected[0]:g} to {expected[1]:g}"
    if not values:
        return Part(rule["says"], shown, None, None, 0, "not shown")
    mean = fmean(values)
    half = interval_of_mean(values)
    interval = [mean - half, mean + half] if len(values) > 1 else None
    return Part(rule["says"], shown, mean, interval, len(values), word(interval, expected))


def word(interval: Sequence[float] | None, expected: str | Sequence[float]) -> Word:
    """Whether the whole interval is where it is expected to be, or the whole of it elsewhere.

    `lower` is below zero, `higher` above it; two numbers are the ends of a range.
    """
    if interval is None:
        return "not shown"
    ends = {"lower": (-np.inf, 0.0), "higher": (0.0, np.inf)}
    least, most = ends[expected] if isinstance(expected, str) else expected
    low, high = interval
    if least < low and high < most:
        return "shown"
    return "contradicted" if high <= least or low >= most else "not shown"


def fits(run: Result, wanted: Mapping[str, Any]) -> bool:
    """Whether the run's settings are those; a list holds alternatives."""
    for key, value in wanted.items():
        own = str(run.value(key)).lower()  # true is written in many ways
        if own not in [str(one).lower() for one in (value if isinstance(value, list) else [value])]:
            return False
    return True


def read(run: Result, reading: str) -> float | None:
    """A number of the run; None if it has no such number.

    `last`, `best`, `mean`, `min` and `max` are of a metric, the last three along a run; `floor` is its value for real
    images against real ones; `cost` is of summary.json's costs, `cost.sampling` of an image's; `loss` and
    `gradient_norm` are a player's in the last record. The metric `leading` is the one that selects the best checkpoint,
    `leading_held_out` the same against held-out images.
    Raises UserError for another kind.
    """
    kind, _, name = reading.partition(".")
    metrics = run.summary["metrics"]
    if name in ("leading", "leading_held_out"):
        name = name.replace("leading", metrics.get("leading", ""))
    if kind in ("last", "best", "floor"):
        value = metrics.get(kind, {}).get(name)
    elif kind in ("mean", "min", "max"):
        value = metrics["trajectory"].get(name, {}).get(kind)
    elif kind == "cost":
        cost = run.summary["cost"]
        value = (cost | {f"sampling.{key}": each for key, each in cost.get("sampling", {}).items()}).get(name)
    elif kind in ("loss", "gradient_norm"):
        value = run.series.latest.get(reading)
    else:
        raise UserError(
            f"{printable(reading)}: a rule reads last., best., mean., min., max. or floor.<metric>, cost.<name>, or "
            "loss. or gradient_norm.<player>"
        )
    return float(value) if is_number(value) else None


def is_reading(text: str) -> bool:
    """Whether `read` understands it; otherwise it is a setting or a metric."""
    return text.partition(".")[0] in READINGS and "." in text


def by_seed(runs: Sequence[Result], number: Callable[[Result], float | None]) -> By:
    """The mean over each seed's runs."""
    found: dict[int, list[float]] = {}
    for run in runs:
        value = number(run)
        if value is not None:
            found.setdefault(run.seed, []).append(value)
    return {seed: fmean(values) for seed, values in sorted(found.items())}


def value(rule: "Rule", own: Sequence[Result], runs: Sequence[Result]) -> By:
    """The reading itself, less that of `against` in the same run, if there is one."""

    def number(run: Result) -> float | None:
        first = read(run, rule["reading"])
        second = read(run, rule["against"]) if "against" in rule else 0.0
        return None if first is None or second is None else first - second

    return by_seed(own, number)


def difference(rule: "Rule", own: Sequence[Result], runs: Sequence[Result]) -> By:
    """The reading less that of the runs of `than`, by seed; of several methods there, the one that is hardest to beat.

    `than` may be empty: all other runs. With `logarithmic`, readings are decadic logarithms, of those above zero.
    """

    def number(run: Result) -> float | None:
        reading = read(run, rule["reading"])
        if reading is None or not rule.get("logarithmic"):
            return reading
        return log10(reading) if reading > 0 else None

    kept = set(map(id, own))
    others: dict[str, list[Result]] = {}
    for run in runs:
        if id(run) not in kept and fits(run, rule.get("than", {})):
            others.setdefault(run.method, []).append(run)
    mine = by_seed(own, number)
    rivals = []
    for of_method in others.values():
        theirs = by_seed(of_method, number)
        found = {seed: mine[seed] - theirs[seed] for seed in mine.keys() & theirs.keys()}
        if found:
            rivals.append(found)
    hardest = max if rule["expected"] == "lower" else min
    return hardest(rivals, key=lambda found: fmean(found.values()), default={})


def trend(rule: "Rule", own: Sequence[Result], runs: Sequence[Result]) -> By:
    """The slope of the reading along a setting, by least squares over each seed's runs."""
    return fitted(rule, own, lambda x: np.column_stack([x[:, 0], np.ones(len(x))]))


def interaction(rule: "Rule", own: Sequence[Result], runs: Sequence[Result]) -> By:
    """How much the slope along one setting changes with one unit of the other, by least squares over a seed's runs."""

    def design(x: Any) -> Any:
        return np.column_stack([x[:, 0] * x[:, 1], x, np.ones(len(x))])

    return fitted(rule, own, design)


def fitted(rule: "Rule", own: Sequence[Result], design: Callable[[Any], Any]) -> By:
    """The first coefficient of the least squares fit to each seed's runs; none of a seed with too few of them.

    With `logarithmic`, settings are decadic logarithms.
    """
    along = rule["along"]
    keys = along if isinstance(along, list) else [along]
    found: By = {}
    for seed in sorted({run.seed for run in own}):
        points = []
        for run in own:
            reading = read(run, rule["reading"]) if run.seed == seed else None
            if reading is not None:
                points.append([reading, *(float(run.value(key)) for key in keys)])
        if not points:
            continue
        numbers = np.array(points)
        settings = np.log10(numbers[:, 1:]) if rule.get("logarithmic") else numbers[:, 1:]
        matrix = design(settings)
        if np.linalg.matrix_rank(matrix) == matrix.shape[1]:
            found[seed] = float(np.linalg.lstsq(matrix, numbers[:, 0])[0][0])
    return found


def correlation(rule: "Rule", own: Sequence[Result], runs: Sequence[Result]) -> By:
    """Spearman's rank correlation of a metric's scores along a run with the mean of a player's losses before each.

    `reading` is the metric, `along` the player.
    """

    def number(run: Result) -> float | None:
        metric = rule["reading"] if rule["reading"] != "leading" else run.summary["metrics"].get("leading", "")
        scores = sorted(run.series.scores.get(metric, {}).items())
        losses = run.series.losses.get(str(rule["along"]), {})
        pairs = []
        for (before, _), (step, score) in zip([(-1, 0.0), *scores], scores, strict=False):
            inside = [entry for interval, entry in losses.items() if before < entry[1] / entry[2] <= step]
            if inside:
                pairs.append((sum(total for total, _, _ in inside) / sum(count for *_, count in inside), score))
        if len(pairs) < 3:
            return None
        rho = float(spearmanr(*zip(*pairs, strict=True)).statistic)
        return rho if is_number(rho) else None

    return by_seed(own, number)


RULES: dict[Kind, Callable[["Rule", Sequence[Result], Sequence[Result]], By]] = {
    "value": value,
    "difference": difference,
    "trend": trend,
    "interaction": interaction,
    "correlation": correlation,
}
assert set(RULES) == set(get_args(Kind))
