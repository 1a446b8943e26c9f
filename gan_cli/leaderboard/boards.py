"""Rows and boards: a method over its seeds, and methods whose scores were measured in the same way."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gan_cli.config.overrides import key_of, labels
from gan_cli.errors import UserError
from gan_cli.leaderboard.results import NOT_OF_THE_METHOD, Result
from gan_cli.leaderboard.statistics import (
    Difference,
    Scores,
    Spread,
    apart,
    differences,
    groups,
    is_number,
    split,
    spread,
)
from gan_cli.sweep.formats import Tuned
from gan_cli.sweep.options import SWEEPING
from gan_cli.text import printable

if TYPE_CHECKING:  # it imports torch
    from gan_cli.metrics.metrics import Direction

NOT_IN_A_LABEL = NOT_OF_THE_METHOD | set(SWEEPING) | {"device", "run_dir", "outputs", "trust", "resume"}
CHOICE_OF_METHOD = {"objective", "experiment"}
LOST = ("diverged", "collapsed", "failed")
WORST = ("diverged", "collapsed")  # runs that count as the worst, where ranks are compared
MARGIN = 0.1  # of the real-against-real score: differences within it are equivalent, unless another margin is given
TUNED, UNTUNED = "Tuned learning rates", "Untuned: each method's own learning rates"
MOST_RANKED = 40  # methods; of more the tests of all pairs could show nothing
PENDING = ("interrupted", "unfinished", "waiting")


@dataclass(frozen=True)
class Row:
    """A method over its seeds; scores and costs are those of the completed runs, the others are only counted."""

    method: str
    results: list[Result]

    @cached_property
    def completed(self) -> list[Result]:
        return [result for result in self.results if result.state == "completed"]

    @property
    def lost(self) -> dict[str, int]:
        """The number of runs that ended without a score, by state."""
        return self.counts(LOST)

    @property
    def pending(self) -> dict[str, int]:
        return self.counts(PENDING)

    @property
    def stopped(self) -> dict[str, int]:
        """The number of runs that a race has stopped."""
        return self.counts(("stopped",))

    def counts(self, states: tuple[str, ...]) -> dict[str, int]:
        counts = {state: sum(result.state == state for result in self.results) for state in states}
        return {state: count for state, count in counts.items() if count}

    @property
    def latent_sampler(self) -> str:
        return printable(sampler_name(self.results[0].config["latent_sampler"]))

    def last(self, metric: str) -> Spread | None:
        return spread(result.scores.get(metric) for result in self.completed)

    def best(self, metric: str) -> Spread | None:
        return spread(result.summary["metrics"]["best"].get(metric) for result in self.completed)

    def sigmas(self, metric: str) -> tuple[float, float | None] | None:
        """The SDs of one evaluation and of training, where evaluations were repeated; 0 for a negative variance."""
        found = split([result.repeats(metric) for result in self.completed])
        if found is None:
            return None
        sample, training = found
        return math.sqrt(sample), None if training is None else math.sqrt(max(0.0, training))

    def trajectory(self, metric: str) -> dict[str, float]:
        """`min`, `max`, `mean` and `std` of the metric along each run, each averaged over the runs."""
        along = [result.summary["metrics"]["trajectory"].get(metric, {}) for result in self.completed]
        means = {name: spread(one.get(name) for one in along) for name in ("min", "max", "mean", "std")}
        return {name: mean.mean for name, mean in means.items() if mean is not None}

    def cost(self, key: str) -> Spread | None:
        return spread(result.summary["cost"].get(key) for result in self.completed)

    def sampling(self, key: str) -> Spread | None:
        return spread(result.summary["cost"].get("sampling", {}).get(key) for result in self.completed)

    @property
    def tuned(self) -> Tuned | None:
        """How its learning rates were chosen, if they were."""
        return self.results[0].tuned

    @property
    def published(self) -> dict[str, float]:
        """Scores by metric that others report for this method."""
        return {metric: score for result in self.results for metric, score in result.published.items()}

    def by_seed(self, metric: str) -> dict[int, float]:
        return {r.seed: r.scores[metric] for r in self.completed if is_number(r.scores.get(metric))}

    def outcomes(self, metric: str, better: "Direction | None") -> Scores:
        """The scores by seed, with the worst there is, inf or -inf, of a run that diverged or collapsed."""
        scores = {r.seeds: r.scores[metric] for r in self.completed if is_number(r.scores.get(metric))}
        worst = -math.inf if better == "higher" else math.inf
        return scores | {result.seeds: worst for result in self.results if result.state in WORST}


@dataclass(frozen=True, eq=False)  # a board is the key of what is computed of it
class Board:
    """Methods whose scores share a protocol, the best first; those that lost runs come after those that did not."""

    protocol: dict[str, Any]
    rows: list[Row]
    metrics: list[str]  # the leading one first, then the same against held-out images, then the other headlines
    headlines: list[str]  # those shown in detail, the leading one first
    directions: "dict[str, Direction]"  # as the runs' summaries say
    baseline: Row
    given_margin: float | None  # of equivalence, in the units of the leading metric
    paired: bool  # whether runs of one seed are compared with each other
    title: str = ""  # what its methods have in common, if other boards of the same sweep have something else

    @property
    def tuned(self) -> list[Tuned]:
        """How the learning rates of its methods were chosen, each way once, if they were."""
        found = (result.tuned for row in self.rows for result in row.results if result.tuned is not None)
        ways = {json.dumps([one["factors"], one["seeds"], one["steps"]]): one for one in found}
        return list(ways.values())

    @property
    def leading(self) -> str | None:
        return self.metrics[0] if self.metrics else None

    @cached_property
    def published(self) -> list[str]:
        """Metrics with a published score for some row."""
        return list(dict.fromkeys(metric for row in self.rows for metric in row.published))

    @cached_property
    def sources(self) -> list[str]:
        """The sources of published scores."""
        found = (result.source for row in self.rows for result in row.results if result.published)
        return [source for source in dict.fromkeys(found) if source]

    @cached_property
    def outcomes(self) -> dict[str, Scores]:
        """By method, for each that has some: its scores in the leading metric, with the runs that were lost."""
        if self.leading is None:
            return {}
        found = {row.method: row.outcomes(self.leading, self.directions.get(self.leading)) for row in self.rows}
        return {method: scores for method, scores in found.items() if scores}

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """By method, for each that has one: its difference from the baseline in the leading metric."""
        others = {method: scores for method, scores in self.outcomes.items() if method != self.baseline.method}
        baseline = self.outcomes.get(self.baseline.method, {})
        return differences(others, baseline, margin=self.margin, paired=self.paired)

    def difference(self, row: Row) -> Difference | None:
        return self.differences.get(row.method)

    @property
    def margin(self) -> float | None:
        """As given, else a tenth of the real-against-real score; None without one."""
        if self.given_margin is not None:
            return self.given_margin
        return MARGIN * abs(self.floor) if self.floor else None

    @cached_property
    def apart(self) -> set[tuple[str, str]]:
        """The pairs (better, worse) of methods that can be told apart; none if there are too many methods."""
        if len(self.outcomes) > MOST_RANKED:
            return set()
        found = apart(self.outcomes, self.paired)
        return found if self.directions.get(self.leading or "") == "lower" else {(b, a) for a, b in found}

    @cached_property
    def ranks(self) -> dict[str, tuple[int, int]]:
        """By method: the best and the worst rank that it may have, after how many it is told apart from.

        All of them hold together with 95 % confidence (Mogstad et al. 2024, Inference for Ranks, Section 3).
        """
        if len(self.outcomes) > MOST_RANKED:
            return {}
        better = {method: sum(method == worse for _, worse in self.apart) for method in self.outcomes}
        worse = {method: sum(method == first for first, _ in self.apart) for method in self.outcomes}
        return {method: (1 + better[method], len(better) - worse[method]) for method in better}

    @property
    def groups(self) -> list[list[str]]:
        """The largest groups of methods that cannot be told apart, in the order of the rows."""
        return groups(list(self.ranks), sorted(self.apart))

    @cached_property
    def floors(self) -> dict[str, float]:
        """By metric: that of one half of the real images against the other."""
        found = [result.summary["metrics"].get("floor", {}) for row in self.rows for result in row.completed]
        return {name: score for floor in reversed(found) for name, score in floor.items() if is_number(score)}

    @property
    def floor(self) -> float | None:
        """That of the leading metric."""
        return self.floors.get(self.leading or "")

    @cached_property
    def updates(self) -> list[str]:
        """The cost keys of summary.json that count the updates of one player."""
        costs = [result.summary["cost"] for row in self.rows for result in row.completed]
        return list(dict.fromkeys(key for cost in costs for key in cost if key.endswith("_updates")))

    def budgets(self) -> dict[str, list[Any]]:
        """The parts of the budget that differ between methods."""
        values = {
            key: sorted({result.summary["cost"].get(key, 0) for row in self.rows for result in row.completed})
            for key in ("images_seen", *self.updates)
        }
        return {key: found for key, found in values.items() if len(found) > 1}

    def differing(self) -> dict[str, list[Any]]:
        """Every config key that differs between methods, with each row's value; None if a row has no such key."""
        return differing([row.results[0].settings for row in self.rows])


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The keys whose values are not the same in all, with the value of each; None if it has no such key."""
    keys = sorted({key for config in settings for key in config})
    values = {key: [config.get(key) for config in settings] for key in keys}
    return {key: found for key, found in values.items() if len({json.dumps(value) for value in found}) > 1}


def sampler_name(node: Mapping[str, Any]) -> str:
    """The sampler and the samplers inside it, such as AdvLatZ(Gaussian)."""
    inner = [sampler_name(value) for value in node.values() if isinstance(value, Mapping) and "_target_" in value]
    return str(node["_target_"]).rsplit(".", 1)[-1] + (f"({', '.join(inner)})" if inner else "")


def boards(
    results: Sequence[Result], baseline: str | None, margin: float | None = None, paired: bool = False
) -> list[Board]:
    """One board for each protocol; methods with tuned learning rates have boards of their own, which come first.

    A run without a summary, and so without a protocol, is on the board of other runs on its data, or on one that has
    only such runs. Raises UserError for a baseline that is not a method.
    """
    parts = {
        UNTUNED: [result for result in results if result.tuned is None],
        TUNED: [result for result in results if result.tuned is not None],
    }
    named = {title: method_labels(part) for title, part in parts.items() if part}
    known = dict.fromkeys(label for labels in named.values() for label in labels.values())
    if baseline is not None and baseline not in known:
        shown = printable(", ".join(known))
        raise UserError(f"baseline={printable(baseline)} is not a method here: choose one of {shown}")
    if list(named) == [UNTUNED]:
        return boards_of(results, named[UNTUNED], baseline, margin, paired)
    return [
        replace(one, title=title)
        for title in (TUNED, UNTUNED)
        if title in named
        for one in boards_of(parts[title], named[title], baseline, margin, paired)
    ]


def boards_of(
    results: Sequence[Result], labels: Mapping[str, str], baseline: str | None, margin: float | None, paired: bool
) -> list[Board]:
    """One board for each protocol of these results."""
    stated = {stamp(result.data): result.protocol for result in reversed(results) if result.protocol}
    groups: dict[str, list[Result]] = {}
    for result in results:
        protocol = result.protocol or stated.get(stamp(result.data)) or {"dataset": result.dataset}
        groups.setdefault(stamp(protocol), []).append(result)
    places = [places_of(group) for group in groups.values()]
    told = len(set(places)) > 1
    return [
        board(
            json.loads(protocol) | ({"root": place} if told and place else {}),
            rows(group, labels),
            baseline,
            margin,
            paired,
        )
        for (protocol, group), place in zip(groups.items(), places, strict=True)
    ]


def stamp(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True)


def places_of(results: Sequence[Result]) -> str:
    """Where the results' images were, as it was typed: tables of different images are told apart by it, too."""
    roots = dict.fromkeys(str(result.data["dataset.root"]) for result in results if "dataset.root" in result.data)
    return printable(", ".join(roots))


def rows(results: Sequence[Result], labels: Mapping[str, str]) -> list[Row]:
    methods: dict[str, list[Result]] = {}
    for result in results:
        methods.setdefault(result.method, []).append(result)
    return [Row(labels[method], found) for method, found in methods.items()]


def board(protocol: dict[str, Any], rows: list[Row], baseline: str | None, margin: float | None, paired: bool) -> Board:
    measured = [result.summary["metrics"] for row in rows for result in row.completed]
    names = dict.fromkeys(key for metrics in measured for key in metrics["last"] if not key.endswith("_std"))
    leading = [metrics["leading"] for metrics in measured if metrics.get("leading") in names][:1]
    told = dict.fromkeys(leading + [name for metrics in measured for name in metrics.get("headlines", [])])
    headlines = [name for name in told if name in names]
    held_out = [key for name in leading if (key := f"{name}_held_out") in names]
    metrics = list(dict.fromkeys([*leading, *held_out, *headlines, *names]))
    directions = {name: way for metrics in measured for name, way in directions_of(metrics).items()}

    def rank(row: Row) -> tuple[bool, bool, float]:
        score = row.last(metrics[0]) if metrics else None
        mean = score.mean if score is not None else 0.0
        return bool(row.lost), score is None, mean if metrics and directions.get(metrics[0]) == "lower" else -mean

    named = [row for row in rows if row.method == baseline]
    scored = [row for row in rows if metrics and row.last(metrics[0]) is not None]
    return Board(
        protocol=protocol,
        rows=sorted(rows, key=rank),
        metrics=metrics,
        headlines=headlines,
        directions=directions,
        baseline=next(iter(named + scored + rows)),
        given_margin=margin,
        paired=paired,
    )


def directions_of(metrics: Mapping[str, Any]) -> "dict[str, Direction]":
    """The directions in the run's summary; earlier versions give only that of the leading metric."""
    if "directions" not in metrics and "lower_is_better" in metrics:
        return {metrics["leading"]: "lower" if metrics["lower_is_better"] else "higher"}
    return metrics.get("directions", {})


def method_labels(results: Sequence[Result]) -> dict[str, str]:
    """A name for each method: the overrides that not all share, and if two are equal, the config values that differ."""
    overrides: dict[str, list[str]] = {}
    settings = {result.method: result.settings for result in results}
    objectives = {method: str(known["objective._target_"]).rsplit(".", 1)[-1] for method, known in settings.items()}
    for result in results:
        own = [override for override in result.overrides if key_of(override) not in NOT_IN_A_LABEL]
        overrides.setdefault(result.method, own)
    shared = set.intersection(*map(set, overrides.values()))
    told = labels(override for own in overrides.values() for override in own if override not in shared)
    names = {
        method: " ".join(told[o] for o in own if o in told)
        or " ".join(labels(o for o in own if key_of(o) in CHOICE_OF_METHOD).values())
        or objectives[method]
        for method, own in overrides.items()
    }
    for name, alike in grouped(names).items():
        if len(alike) > 1:
            separate = differing([settings[method] for method in alike])
            for method in alike:
                own = [f"{key}={settings[method][key]}" for key in separate if key in settings[method]]
                names[method] = printable(f"{name} ({', '.join(own)})")
    taken = set(names.values())
    for name, alike in grouped(names).items():
        number = 1
        for method in alike[1:]:  # alike in all that is shown of them
            while names[method] in taken:
                number += 1
                names[method] = f"{name} #{number}"
            taken.add(names[method])
    return names


def grouped(names: Mapping[str, str]) -> dict[str, list[str]]:
    """The methods by their names."""
    found: dict[str, list[str]] = {}
    for method, name in names.items():
        found.setdefault(name, []).append(method)
    return found
