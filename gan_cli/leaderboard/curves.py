"""What the curves of a comparison show: means over seeds, in bands from the lowest seed to the highest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gan_cli.leaderboard.boards import Board, Row
from gan_cli.leaderboard.results import Result

Points = dict[int, tuple[float, float]]  # by step, or interval of steps: position and value
LOG_RATIO = 10
MOST_DRAWN = 20  # methods with curves; more cannot be told apart
MOST_PANELS = 8  # metrics, or players, in one picture


@dataclass(frozen=True)
class Curve:
    """Of the method at this place among those drawn; `low` and `high` are the seeds' extremes."""

    place: int
    method: str
    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Panel:
    title: str
    xlabel: str
    scale: Literal["linear", "log", "symlog"]
    curves: list[Curve]


def panels(board: Board) -> list[Panel]:
    """The headline metrics (or the first two), each against steps and against seconds; then the players' losses."""
    metrics = (board.headlines if len(board.headlines) > 1 else board.metrics[:2])[:MOST_PANELS]
    rows = drawn(board)
    series = [result.series for row in rows for result in row.results]
    players = list(dict.fromkeys(player for one in series for player in one.losses))[:MOST_PANELS]
    found = []
    for metric in metrics:
        by_step = means(rows, lambda result, metric=metric: scores_by_step(result, metric))  # type: ignore[misc]
        by_time = means(rows, lambda result, metric=metric: scores_by_time(result, metric))  # type: ignore[misc]
        found.append(Panel(metric, "step", scale_of(by_step), by_step))
        found.append(Panel(metric, "seconds of training", scale_of(by_time), by_time))
    for player in players:
        losses = means(rows, lambda result, player=player: losses_of(result, player))  # type: ignore[misc]
        title = f"loss of the {player}, penalties included"
        found.append(Panel(title, "step", scale_of(losses, symmetric=True), losses))
    return found


def drawn(board: Board) -> list[Row]:
    """The rows that have curves: the first ones, and the baseline."""
    first = board.rows[:MOST_DRAWN]
    return first if any(row is board.baseline for row in first) else [*first[:-1], board.baseline]


def left_out(board: Board) -> str:
    """A sentence about the methods without curves; empty if there are none."""
    if len(board.rows) <= MOST_DRAWN:
        return ""
    return f"Curves are drawn of {MOST_DRAWN} of {len(board.rows):,} methods: the first ones, and the baseline."


def means(rows: Sequence[Row], read: Callable[[Result], Points]) -> list[Curve]:
    """The mean over seeds of each method that has points; of a run that failed as far as it came."""
    found = []
    for place, row in enumerate(rows):
        series = [points for result in row.results if (points := read(result))]
        steps = sorted({step for points in series for step in points})
        at = [[points[step] for points in series if step in points] for step in steps]
        x = [float(np.mean([position for position, _ in one])) for one in at]
        values = [[value for _, value in one] for one in at]
        if steps:
            mean = [float(np.mean(one)) for one in values]
            found.append(Curve(place, row.method, x, mean, [*map(min, values)], [*map(max, values)]))
    return found


def scale_of(curves: Sequence[Curve], *, symmetric: bool = False) -> Literal["linear", "log", "symlog"]:
    """Logarithmic for values that are all positive and span much; of losses, which are not, beyond -1 and 1."""
    lowest = min((min(curve.mean) for curve in curves), default=0.0)
    highest = max((max(curve.mean) for curve in curves), default=0.0)
    if symmetric:
        return "symlog" if highest - min(lowest, 0) > LOG_RATIO else "linear"
    return "log" if lowest > 0 and highest > LOG_RATIO * lowest else "linear"


def scores_by_step(result: Result, metric: str) -> Points:
    return {step: (float(step), score) for step, score in result.series.scores.get(metric, {}).items()}


def scores_by_time(result: Result, metric: str) -> Points:
    """Seconds of training at each evaluation, interpolated between the records of losses."""
    logged = sorted(({0: 0.0} | result.series.seconds).items())
    steps, seconds = zip(*logged, strict=True)
    points = scores_by_step(result, metric) if len(logged) > 1 else {}
    return {step: (float(np.interp(step, steps, seconds)), score) for step, (_, score) in points.items()}


def losses_of(result: Result, player: str) -> Points:
    """The mean of the recorded losses in each interval of the run, at the mean of their steps."""
    intervals = result.series.losses.get(player, {})
    return {number: (steps / count, total / count) for number, (total, steps, count) in intervals.items()}
