"""The pictures of a comparison: curves with seed bands, and a study's picture."""

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gan_cli.leaderboard.boards import Board, Row
from gan_cli.leaderboard.results import Result
from gan_cli.leaderboard.statistics import is_number
from gan_cli.runs.pictures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = dict[int, tuple[float, float]]  # by step, or interval of steps: position and value
LOG_RATIO = 20  # a metric that spans more than this is drawn on a logarithmic axis


def curves(board: Board) -> "Figure":
    """The headline metrics (or the first two) against steps and against seconds; losses."""
    metrics = board.headlines if len(board.headlines) > 1 else board.metrics[:2]
    num_rows = max(1, len(metrics) + -(-len(board.players) // 2))
    figure = new_figure(12.0, 3.4 * num_rows + 0.5)
    panels = figure.subplots(num_rows, 2, squeeze=False)
    for (left, right), metric in zip(panels, metrics, strict=False):
        draw_means(left, board, lambda result, metric=metric: scores_by_step(result, metric), "step")  # type: ignore[misc]
        left.set(title=metric, ylabel=metric)
        draw_means(right, board, lambda result, metric=metric: scores_by_time(result, metric), "seconds of training")  # type: ignore[misc]
        right.set(title=metric)
    for axes, player in zip(panels[len(metrics) :].flat, board.players, strict=False):
        draw_means(axes, board, lambda result, player=player: losses_of(result, player), "step", symmetric=True)  # type: ignore[misc]
        axes.set(title=f"loss of the {player}, penalties included")
    handles, labels = panels[-1][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, max(1, len(labels))), frameon=False)
    return figure


def styles() -> "itertools.cycle[dict[str, Any]]":
    """Ten colours solid, then dashed, then dotted."""
    return itertools.cycle([{"color": f"C{number}", "ls": dash} for dash in ("-", "--", ":") for number in range(10)])


def draw_means(
    axes: "Axes", board: Board, read: Callable[[Result], Points], xlabel: str, *, symmetric: bool = False
) -> None:
    """Draws each method's mean over seeds, in a band from minimum to maximum."""
    highest, lowest = 0.0, np.inf
    for row, style in zip(board.rows, styles(), strict=False):
        series = [points for result in row.results if (points := read(result))]
        if not series:
            continue
        steps = sorted({step for points in series for step in points})  # a run that failed ends early
        x, y = (np.array([np.mean([p[step][n] for p in series if step in p]) for step in steps]) for n in (0, 1))
        if len(series) > 1:
            low, high = (
                np.array([end(p[step][1] for p in series if step in p) for step in steps]) for end in (min, max)
            )
            axes.fill_between(x, low, high, alpha=0.12, color=style["color"])
        axes.plot(x, y, lw=1.2, label=row.method.replace("$", r"\$"), **style)
        highest, lowest = max(highest, float(np.max(y))), min(lowest, float(np.min(y)))
    if symmetric and highest - min(lowest, 0) > LOG_RATIO:
        axes.set_yscale("symlog", linthresh=1.0)
    elif not symmetric and lowest > 0 and highest > LOG_RATIO * lowest:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel)


def scores_by_step(result: Result, metric: str) -> Points:
    found = ((r["step"], r.get("metrics", {}).get(metric)) for r in result.records)
    return {step: (float(step), float(score)) for step, score in found if is_number(score)}


def scores_by_time(result: Result, metric: str) -> Points:
    """Seconds of training at each evaluation, interpolated between the records of losses."""
    logged = [(0.0, 0.0)] + [(r["step"], r["seconds"]) for r in result.records if "seconds" in r]
    steps, seconds = zip(*logged, strict=True)
    points = scores_by_step(result, metric) if len(logged) > 1 else {}
    return {step: (float(np.interp(step, steps, seconds)), score) for step, (_, score) in points.items()}


def losses_of(result: Result, player: str) -> Points:
    """The mean of the recorded losses in each of 200 intervals of the run."""
    width = max(1, result.config["steps"] // 200)
    found: dict[int, list[float]] = {}
    for record in result.records:
        if "losses" in record:
            found.setdefault(record["step"] // width, []).append(sum(record["losses"][player].values()))
    return {number: (float((number + 0.5) * width), float(np.mean(losses))) for number, losses in found.items()}


def study_picture(board: Board, picture: Mapping[str, Any]) -> "Figure | None":
    """The last score of every run against the setting `x`, with a colour for each value of `lines`.

    `picture` may also give the metric `y`, `title` and `xlabel`, and `categories` if numbers are only names.
    None if nothing has been scored.
    """
    metric = picture["y"] if picture.get("y") in board.metrics else board.leading or ""
    points: dict[str, list[tuple[Any, float]]] = {}
    for row in board.rows:
        for result in row.completed:
            if is_number(result.scores.get(metric)):
                line = str(result.value(picture["lines"])) if "lines" in picture else ""
                points.setdefault(line, []).append((result.value(picture["x"]), result.scores[metric]))
    if not points:
        return None
    values = [as_number(x) for line in points.values() for x, _ in line]
    numeric = all(value is not None for value in values) and not picture.get("categories")
    names = {str(x): None for line in sorted(points) for x, _ in points[line]}
    positions = {name: (as_number(name) if numeric else place) for place, name in enumerate(names)}
    figure = new_figure(max(7.0, 0.9 * len(names) + 2), 4.8)
    axes = figure.subplots()
    for number, line in enumerate(
        sorted(points, key=lambda name: (as_number(name) is None, as_number(name) or 0, name))
    ):
        shift = 0.0 if numeric else 0.6 * ((number + 0.5) / len(points) - 0.5)
        x = np.array([positions[str(value)] for value, _ in points[line]], dtype=float) + shift
        y = np.array([score for _, score in points[line]])
        label = f"{picture['lines'].split('.')[-1]} {line}" if line else None
        axes.scatter(x, y, s=16, alpha=0.6, color=f"C{number}", label=label)
        centers = np.unique(x)
        means = [y[x == center].mean() for center in centers]
        axes.plot(centers, means, "-" if numeric else "_", color=f"C{number}", lw=1.2, ms=16, mew=2)
    if not numeric:
        turned = 20 if len(names) > 5 or max(map(len, names)) > 12 else 0
        axes.set_xticks(list(range(len(names))), list(names), rotation=turned, ha="right" if turned else "center")
    every = [score for line in points.values() for _, score in line]
    if min(every) > 0 and max(every) > LOG_RATIO * min(every):
        axes.set_yscale("log")
    axes.set(title=picture.get("title", ""), xlabel=picture.get("xlabel", picture["x"]), ylabel=metric)
    if "lines" in picture:
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def as_number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def last_grid(row: Row) -> Result | None:
    """The run whose pictures represent a method: the first seed with the highest step."""
    drawn = [result for result in row.results if any(result.run.samples.glob("[0-9]*.png"))]
    return max(drawn, key=lambda result: result.summary.get("step", 0), default=None)
