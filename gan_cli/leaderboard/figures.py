"""The pictures of a comparison: curves with seed bands, and a study's picture."""

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gan_cli.leaderboard.boards import Board, Row
from gan_cli.leaderboard.results import Result
from gan_cli.leaderboard.statistics import is_number
from gan_cli.runs.pictures import new_figure, save_figure
from gan_cli.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = dict[int, tuple[float, float]]  # by step, or interval of steps: position and value
LOG_RATIO = 20  # a metric that spans more than this is drawn on a logarithmic axis
MOST_DRAWN = 20  # methods with curves; more cannot be told apart
MOST_PANELS = 8  # metrics, or players, in one picture
MOST_OF_LABEL = 60  # characters
MOST_VALUES = 40  # on an axis of names


def curves(board: Board) -> "Figure":
    """The headline metrics (or the first two) against steps and against seconds; losses."""
    metrics = (board.headlines if len(board.headlines) > 1 else board.metrics[:2])[:MOST_PANELS]
    rows = drawn(board)
    series = [result.series for row in rows for result in row.results]
    players = list(dict.fromkeys(player for one in series for player in one.losses))[:MOST_PANELS]
    num_rows = max(1, len(metrics) + -(-len(players) // 2))
    figure = new_figure(12.0, 3.4 * num_rows + 0.5)
    panels = figure.subplots(num_rows, 2, squeeze=False)
    for (left, right), metric in zip(panels, metrics, strict=False):
        draw_means(left, rows, lambda result, metric=metric: scores_by_step(result, metric), "step")  # type: ignore[misc]
        left.set(title=plain(metric), ylabel=plain(metric))
        draw_means(right, rows, lambda result, metric=metric: scores_by_time(result, metric), "seconds of training")  # type: ignore[misc]
        right.set(title=plain(metric))
    for axes, player in zip(panels[len(metrics) :].flat, players, strict=False):
        draw_means(axes, rows, lambda result, player=player: losses_of(result, player), "step", symmetric=True)  # type: ignore[misc]
        axes.set(title=plain(f"loss of the {player}, penalties included"))
    handles, labels = panels[-1][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns(labels), frameon=False)
    return figure


def columns(labels: Sequence[str]) -> int:
    """The columns of a legend that is not wider than its picture: 160 letters."""
    return max(1, min(4, len(labels), 160 // (max(map(len, labels), default=0) + 1)))


def drawn(board: Board) -> list[Row]:
    """The rows that have curves: the first ones, and the baseline."""
    first = board.rows[:MOST_DRAWN]
    return first if any(row is board.baseline for row in first) else [*first[:-1], board.baseline]


def left_out(board: Board) -> str:
    """A sentence about the methods without curves; empty if there are none."""
    if len(board.rows) <= MOST_DRAWN:
        return ""
    return f"Curves are drawn of {MOST_DRAWN} of {len(board.rows):,} methods: the first ones, and the baseline."


def plain(text: object) -> str:
    """The text as a label: short, no formula, and not skipped by a legend."""
    shown = printable(text, MOST_OF_LABEL).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def save(path: Path, figure: "Figure") -> None:
    """Without a warning for each letter that the font lacks, which is drawn as a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        save_figure(path, figure)


def styles() -> "itertools.cycle[dict[str, Any]]":
    """Ten colours solid, then dashed, then dotted."""
    return itertools.cycle([{"color": f"C{number}", "ls": dash} for dash in ("-", "--", ":") for number in range(10)])


def draw_means(
    axes: "Axes", rows: Sequence[Row], read: Callable[[Result], Points], xlabel: str, *, symmetric: bool = False
) -> None:
    """Draws each method's mean over seeds, in a band from minimum to maximum."""
    highest, lowest = 0.0, np.inf
    for row, style in zip(rows, styles(), strict=False):
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
        axes.plot(x, y, lw=1.2, label=plain(row.method), **style)
        highest, lowest = max(highest, float(np.max(y))), min(lowest, float(np.min(y)))
    if symmetric and highest - min(lowest, 0) > LOG_RATIO:
        axes.set_yscale("symlog", linthresh=1.0)
    elif not symmetric and lowest > 0 and highest > LOG_RATIO * lowest:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel)


def scores_by_step(result: Result, metric: str) -> Points:
    return {step: (float(step), score) for step, score in result.series.scores.get(metric, {}).items()}


def scores_by_time(result: Result, metric: str) -> Points:
    """Seconds of training at each evaluation, interpolated between the records of losses."""
    logged = sorted(({0: 0.0} | result.series.seconds).items())
    steps, seconds = zip(*logged, strict=True)
    points = scores_by_step(result, metric) if len(logged) > 1 else {}
    return {step: (float(np.interp(step, steps, seconds)), score) for step, (_, score) in points.items()}


def losses_of(result: Result, player: str) -> Points:
    """The mean of the recorded losses in each interval of the run."""
    width = result.series.width
    losses = result.series.losses.get(player, {})
    return {number: ((number + 0.5) * width, total / count) for number, (total, count) in losses.items()}


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
    figure = new_figure(min(max(7.0, 0.9 * len(names) + 2), 0.9 * MOST_VALUES), 4.8)
    axes = figure.subplots()
    for number, line in enumerate(
        sorted(points, key=lambda name: (as_number(name) is None, as_number(name) or 0, name))
    ):
        shift = 0.0 if numeric else 0.6 * ((number + 0.5) / len(points) - 0.5)
        x = np.array([positions[str(value)] for value, _ in points[line]], dtype=float) + shift
        y = np.array([score for _, score in points[line]])
        label = plain(f"{picture['lines'].split('.')[-1]} {line}") if line and number < MOST_DRAWN else None
        axes.scatter(x, y, s=16, alpha=0.6, color=f"C{number}", label=label)
        centers = np.unique(x)
        means = [y[x == center].mean() for center in centers]
        axes.plot(centers, means, "-" if numeric else "_", color=f"C{number}", lw=1.2, ms=16, mew=2)
    if not numeric:
        turned = 20 if len(names) > 5 or max(map(len, names)) > 12 else 0
        every = -(-len(names) // MOST_VALUES)
        ticks, labels = list(range(len(names)))[::every], [plain(name) for name in names][::every]
        axes.set_xticks(ticks, labels, rotation=turned, ha="right" if turned else "center")
    scores = [score for line in points.values() for _, score in line]
    if min(scores) > 0 and max(scores) > LOG_RATIO * min(scores):
        axes.set_yscale("log")
    axes.set(title=plain(picture.get("title", "")), ylabel=plain(metric))
    axes.set_xlabel(plain(picture.get("xlabel", picture["x"])))
    if "lines" in picture:
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def as_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if is_number(number) else None


def last_grid(row: Row) -> tuple[Result, Path] | None:
    """The pictures that represent a method: the last of the first seed with the highest step."""
    found = [(result, path) for result in row.results if (path := last_picture(result)) is not None]
    return max(found, key=lambda one: one[0].summary.get("step", 0), default=None)


def last_picture(result: Result) -> Path | None:
    """The picture of the highest step, samples/<step>.png."""
    pictures: list[Path] = []
    with suppress(OSError):  # a folder that cannot be read has no pictures
        pictures = [
            path for path in result.run.samples.iterdir() if path.suffix == ".png" and step_of(path) is not None
        ]
    return max(pictures, key=step_of, default=None)  # type: ignore[arg-type]


def step_of(picture: Path) -> int | None:
    return int(picture.stem) if picture.stem.isascii() and picture.stem.isdecimal() and len(picture.stem) < 20 else None
