"""The pictures of a comparison: curves with seed bands, and a study's picture."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gan_cli.errors import one_line, own_code
from gan_cli.leaderboard.boards import Board, Row
from gan_cli.leaderboard.claims import fits, is_reading, read
from gan_cli.leaderboard.curves import LOG_RATIO, MOST_DRAWN, Panel, drawn, panels
from gan_cli.leaderboard.results import Result
from gan_cli.leaderboard.statistics import interval_of_mean, is_number, spread
from gan_cli.leaderboard.styles import style
from gan_cli.runs.figure import new_figure, save_figure
from gan_cli.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

NUM_MARKERS = 10  # of a curve
MOST_OF_LABEL = 60  # characters
BESIDE = 1.04  # of two lines, the ratio of their places on a logarithmic axis
MOST_GROUPS = 12  # of methods, beside their ranks
GROUP_STEP = 0.05  # between two groups, in ranks for each method
MOST_VALUES = 40  # on an axis of names
# Settings whose values need no word before them.
SPEAKING = ("objective", "experiment", "model", "latent_sampler", "augmentation")


def curves(board: Board) -> "Figure":
    """Scores against steps and against seconds, and losses; the legend is below the panels."""
    found = panels(board)
    num_rows = max(1, -(-len(found) // 2))
    figure = new_figure(12.0, 3.4 * num_rows + 0.5)
    shared: dict[str, Any] = {}  # the legend's lines by method; a run that failed may be in some panels only
    for axes, panel in zip(figure.subplots(num_rows, 2, squeeze=False).flat, found, strict=False):
        draw(axes, panel)
        shared |= {curve.method: line for curve, line in zip(panel.curves, axes.lines, strict=True)}
    named = [row.method for row in drawn(board) if row.method in shared]
    labels = [plain(method) for method in named]
    figure.legend(
        [shared[method] for method in named],
        labels,
        loc="outside lower center",
        ncols=columns(labels),
        frameon=False,
        handlelength=3.5,
    )
    return figure


def ranks(board: Board) -> "Figure | None":
    """The ranks that each method may have, and beside them the groups that cannot be told apart.

    None if there are fewer than two methods, or too many.
    """
    if len(board.ranks) < 2:
        return None
    methods = list(board.ranks)
    labels = [plain(method) for method in methods]
    groups = [group for group in board.groups if len(group) > 1][:MOST_GROUPS]
    num, beside = len(methods), 0.08 * max(map(len, labels))
    figure = new_figure(beside + max(4.0, 0.4 * num) + 0.25 * len(groups), 1.3 + 0.32 * num)
    axes = figure.subplots()
    places = {row.method: place for place, row in enumerate(drawn(board))}
    for height, (method, (best, worst)) in enumerate(board.ranks.items()):
        look = style(places.get(method, height))
        axes.plot([best, worst], [height, height], color=look.colour, lw=7, alpha=0.35, solid_capstyle="butt")
        axes.plot([best, worst], [height, height], color=look.colour, ls="none", marker="|", ms=11, mew=2)
    for number, group in enumerate(groups):
        heights = [methods.index(method) for method in group]
        x = [num + 0.6 + GROUP_STEP * num * number] * len(group)
        axes.plot(x, heights, color="0.25", lw=2, marker="o", ms=4, clip_on=False)
    axes.set_yticks(range(num), labels)
    axes.set_xticks([*range(1, num + 1, -(-num // 12))])
    axes.set_ylim(num - 0.5, -0.5)
    axes.set_xlim(0.5, num + 0.6 + GROUP_STEP * num * max(1, len(groups)))
    axes.grid(axis="x", alpha=0.3)
    axes.set(title=plain(f"Ranks in {board.leading}, 95 % intervals"), xlabel="rank; lines join what is not told apart")
    return figure


def columns(labels: Sequence[str]) -> int:
    """The columns of a legend that is not wider than its picture: 160 letters."""
    return max(1, min(4, len(labels), 160 // (max(map(len, labels), default=0) + 1)))


def plain(text: object) -> str:
    """The text as a label: short, no formula, and not skipped by a legend."""
    shown = printable(text, MOST_OF_LABEL).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def save(path: Path, figure: "Figure") -> None:
    """Without a warning for each letter that the font lacks, which is drawn as a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        save_figure(path, figure)


def draw(axes: "Axes", panel: Panel) -> None:
    """Draws each method's mean over seeds with a few markers, in a band from the lowest seed to the highest."""
    for curve in panel.curves:
        look = style(curve.place)
        if curve.low != curve.high:
            axes.fill_between(curve.x, curve.low, curve.high, alpha=0.12, color=look.colour, lw=0)
        every = max(1, len(curve.x) // NUM_MARKERS)
        axes.plot(
            curve.x,
            curve.mean,
            lw=1.3,
            color=look.colour,
            ls=(0, look.dash) if look.dash else "-",
            marker=look.marker,
            ms=4.5,
            markevery=(curve.place % every, every),
        )
    if panel.scale == "symlog":
        axes.set_yscale("symlog", linthresh=1.0)
    else:
        axes.set_yscale(panel.scale)
    axes.set(title=plain(panel.title), xlabel=panel.xlabel)


def study_picture(board: Board, picture: Mapping[str, Any]) -> "Figure | None":
    """The last score of every run against the setting `x`, with a colour for each value of `lines`.

    `x` may be a number as rules of claims read them, which is averaged over the runs of a method; `lines` may be
    several settings, and `where` chooses runs. `picture` may also give `y` (a metric, or a number as
    rules of claims read them), `title`, `xlabel`, and `categories` if numbers are only names. With `intervals` the
    means have 95 % intervals over seeds, with `logarithmic` the axis of `x` is one. None if nothing has been scored.
    """
    asked = picture.get("y") or ""
    metric = asked if asked in board.metrics or is_reading(asked) else board.leading or ""
    measured = is_reading(picture["x"])
    points = points_of(board, picture, metric if is_reading(metric) else f"last.{metric}")
    if not points:
        return None
    values = [as_number(x) for line in points.values() for x, _ in line]
    numeric = all(value is not None for value in values) and not picture.get("categories")
    names = {str(x): None for line in sorted(points) for x, _ in points[line]}
    positions = {name: (as_number(name) if numeric else place) for place, name in enumerate(names)}
    beside = 0.1 * max(map(len, points)) if "lines" in picture else 0.0  # the legend
    figure = new_figure(min(max(7.0, 0.9 * len(names) + 2, 6.0 + beside), 0.9 * MOST_VALUES), 4.8)
    axes = figure.subplots()
    for number, line in enumerate(sorted(points, key=in_order)):
        shift = 0.0 if numeric else 0.6 * ((number + 0.5) / len(points) - 0.5)
        x = np.array([positions[str(value)] for value, _ in points[line]], dtype=float) + shift
        if numeric and picture.get("logarithmic") and not measured:
            x *= BESIDE ** (number - (len(points) - 1) / 2)  # so that no interval hides another
        y = np.array([score for _, score in points[line]])
        label = plain(line) if line and number < MOST_DRAWN else None
        axes.scatter(x, y, s=16, alpha=0.6, color=f"C{number}", label=label)
        centers = np.unique(x)
        means = [y[x == center].mean() for center in centers]
        axes.plot(centers, means, "-" if numeric else "_", color=f"C{number}", lw=1.2, ms=16, mew=2)
        if picture.get("intervals"):
            half_widths = [interval_of_mean(y[x == center].tolist()) for center in centers]
            axes.errorbar(centers, means, half_widths, fmt="none", color=f"C{number}", lw=1.2, capsize=4)
    if not numeric:
        name_places(axes, list(names))
    elif picture.get("logarithmic"):
        logarithmic(axes, sorted({value for value in values if value is not None}), measured)
    scores = [score for line in points.values() for _, score in line]
    if min(scores) > 0 and max(scores) > LOG_RATIO * min(scores):
        axes.set_yscale("log")
        label_decades(axes.yaxis)
    axes.set(title=plain(picture.get("title", "")), ylabel=plain(axis_name(metric, board)))
    axes.set_xlabel(plain(picture.get("xlabel", picture["x"])))
    if "lines" in picture:
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def axis_name(metric: str, board: Board) -> str:
    """The metric in the words of the table: `leading` stands for the one that leads there."""
    name = metric.removeprefix("last.")
    return name.replace("leading", board.leading, 1) if board.leading and name.startswith("leading") else name


def points_of(board: Board, picture: Mapping[str, Any], y: str) -> dict[str, list[tuple[Any, float]]]:
    """The place on the axis of `x`, and the reading `y`, of each run, by the label of its line."""
    points: dict[str, list[tuple[Any, float]]] = {}
    for row in board.rows:
        shown = [result for result in row.completed if fits(result, picture.get("where", {}))]
        measured = spread(read(result, picture["x"]) for result in shown) if is_reading(picture["x"]) else None
        for result in shown:
            score = read(result, y)
            if score is not None:
                x = result.value(picture["x"]) if measured is None else measured.mean
                line = line_of(result, picture.get("lines"))
                points.setdefault(line, []).append(("none" if x is None else x, score))
    return points


def name_places(axes: "Axes", names: Sequence[str]) -> None:
    """Labels the axis of settings that are no numbers; of too many every second, third, ..."""
    turned = 20 if len(names) > 5 or max(map(len, names)) > 12 else 0
    every = -(-len(names) // MOST_VALUES)
    labels = [plain(name) for name in names][::every]
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(range(0, len(names), every), labels, rotation=turned, ha="right" if turned else "center")


def logarithmic(axes: "Axes", places: Sequence[float], measured: bool) -> None:
    """Makes the axis of `x` logarithmic, if it can be one; settings are labelled with their own values."""
    if min(places) <= 0:
        return
    axes.set_xscale("log")
    axes.set_xticks([], minor=True)
    if measured:
        label_decades(axes.xaxis)
    else:
        axes.set_xticks(places, [f"{place:g}" for place in places])


def label_decades(axis: "Axis") -> None:
    """Labels 1, 2, 5, 10, ... of a logarithmic axis, without powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def line_of(result: Result, keys: str | Sequence[str] | None) -> str:
    """The label of the run's line: the values of these settings, after the last word of each that needs it."""
    named = [keys] if isinstance(keys, str) else list(keys or [])
    values = {key: result.value(key) for key in named}
    words = [(key.split(".")[-1], value) for key, value in values.items() if value is not None]
    told = ", ".join(str(value) if word in SPEAKING else f"{word} {value}" for word, value in words)
    return told or ("default" if named else "")


def in_order(label: str) -> tuple[bool, float, str]:
    """By its last word, if that is a number."""
    value = as_number(label.rsplit(" ", 1)[-1])
    return value is None, value or 0.0, label


def own_picture(function: Callable[[Board], Any], board: Board) -> "Figure | None":
    """The figure that the user's own function draws of a board with scores; None, with a warning, if it fails.

    It is laid out here, where its errors cost no table.
    """
    from matplotlib.figure import Figure

    if not board.metrics:
        return None
    try:
        figure = function(board)
        if not isinstance(figure, Figure):
            raise TypeError(f"{function.__name__} must return a matplotlib Figure, not {type(figure).__name__}")
        figure.draw_without_rendering()
    except Exception as error:
        place = own_code(error)
        told = f"{type(error).__name__}: {one_line(error)}" + (f" ({place})" if place else "")
        warnings.warn(f"left out: the study's own picture: {told}", stacklevel=1)
        return None
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
