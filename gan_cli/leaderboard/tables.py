"""Boards as tables of text, in Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gan_cli.leaderboard.boards import Board, Row
from gan_cli.leaderboard.statistics import Difference, Spread
from gan_cli.metrics.metrics import Direction
from gan_cli.runs.summary import short
from gan_cli.text import printable

COSTS = (
    "seconds",
    "images_per_second",
    "peak_memory_bytes",
    "images_seen",
)
MOST_LISTED = 20  # methods in a sentence
ARROWS: dict[Direction | None, str] = {"lower": "↓", "higher": "↑"}
SAMPLING = ("seconds", "generator_passes", "discriminator_passes", "gradient_calls")

FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # the last four are fullwidth forms of the first

Columns = list[tuple[str, Callable[[Row], str]]]


@dataclass(frozen=True)
class TextTable:
    title: str
    header: list[str]
    rows: list[list[str]]


def text_tables(board: Board) -> list[TextTable]:
    """At the last step; the best checkpoint and along training; cost."""
    arrows = {
        name: f"{name.removesuffix('_mean')} {ARROWS.get(board.directions.get(name), '')}".rstrip()
        for name in board.metrics
    }
    last: Columns = [("method", lambda row: row.method), ("runs", runs)]
    published: Columns = [(f"published {metric}", quoted(metric)) for metric in board.published]
    if board.leading is None:
        last += published
    for metric in board.metrics:
        last.append((arrows[metric], lambda row, metric=metric: shown(row.last(metric))))  # type: ignore[misc]
        if metric == board.leading:
            last += published
        if metric in board.headlines:
            last.append(("min to max", lambda row, metric=metric: extent(row.last(metric))))  # type: ignore[misc]
        if metric == board.leading:
            last.append((f"Δ to {board.baseline.method}", lambda row: shown_difference(board.difference(row))))
    tables = [table("At the last step, mean ± standard deviation over training seeds", board, last)]
    if board.leading is not None:
        leading = board.leading
        along: Columns = [("method", lambda row: row.method)]
        for metric in board.headlines:
            along.append((f"best {arrows[metric]}", lambda row, metric=metric: shown(row.best(metric))))  # type: ignore[misc]
        for name in ("min", "max", "mean", "std"):
            title = "SD" if name == "std" else name
            along.append((title, lambda row, name=name: number_or_dash(row.trajectory(leading).get(name))))  # type: ignore[misc]
        title = f"Of the best checkpoint; and the extremes, mean and SD of {arrows[leading]} along a run"
        tables.append(table(title, board, along))
    cost: Columns = [
        ("method", lambda row: row.method),
        ("latent sampler", lambda row: row.latent_sampler),
        ("seconds", lambda row: shown(row.cost("seconds"))),
        ("images/s", lambda row: shown(row.cost("images_per_second"))),
        ("peak memory, MiB", lambda row: shown(row.cost("peak_memory_bytes"), 2**-20)),
        ("images seen", lambda row: count(row.cost("images_seen"))),
        *((f"updates of {key[0].upper()}", lambda row, key=key: count(row.cost(key))) for key in board.updates),
        ("gradient calls an image sampled", lambda row: number_or_dash(mean(row.sampling("gradient_calls")))),
    ]
    return [*tables, table("Cost of a run", board, cost)]


def table(title: str, board: Board, columns: Columns) -> TextTable:
    return TextTable(title, [name for name, _ in columns], [[cell(row) for _, cell in columns] for row in board.rows])


def runs(row: Row) -> str:
    """3, or 2 of 3 (1 diverged)."""
    others = ", ".join(f"{number} {state}" for state, number in (row.lost | row.pending).items())
    return f"{len(row.completed)} of {len(row.results)} ({others})" if others else str(len(row.completed))


def quoted(metric: str) -> Callable[[Row], str]:
    """Shows a published score with the published digits."""
    return lambda row: f"{row.published[metric]:g}" if metric in row.published else "-"


def shown(values: Spread | None, factor: float = 1.0) -> str:
    if values is None:
        return "-"
    return number(factor * values.mean) + (f" ± {factor * values.std:.2g}" if values.std is not None else "")


def extent(values: Spread | None) -> str:
    return "-" if values is None else f"{number(values.low)} to {number(values.high)}"


def shown_difference(difference: Difference | None) -> str:
    if difference is None:
        return "-"
    interval = difference.interval
    return f"{difference.mean:+.3g}" + (f" ({interval[0]:+.3g} to {interval[1]:+.3g})" if interval else "")


def mean(values: Spread | None) -> float | None:
    return None if values is None else values.mean


def number(value: float) -> str:
    """Three digits, without an exponent for numbers from 1,000 to 1e9."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def number_or_dash(value: float | None) -> str:
    return "-" if value is None else number(value)


def count(values: Spread | None) -> str:
    return "-" if values is None else f"{values.mean:,.0f}"


def notes(board: Board) -> list[str]:
    """Sentences about the protocol, the budget, runs without a result, and the differences."""
    protocol = ", ".join(f"{key} {short(value)}" for key, value in board.protocol.items())
    said = [f"Protocol: {protocol}."] if protocol else []
    if board.floor is not None:
        said.append(
            f"Real against real, one random half of the real images against the other: {board.leading} "
            f"{number(board.floor)}; it gives a scale, and a method can be better."
        )
    if board.published:
        where = f" ({'; '.join(board.sources)})" if board.sources else ""
        said.append(
            f"Published numbers were measured elsewhere{where}, by other code, with the published settings and under "
            "another protocol: a difference from a score here is not a difference between methods."
        )
    budgets = board.budgets()
    if budgets:
        unequal = "; ".join(
            f"{key.replace('_', ' ')} {min(values):,} to {max(values):,}" for key, values in budgets.items()
        )
        said.append(f"The budgets are not equal: {unequal}.")
    lost = [row.method for row in board.rows if row.lost]
    if lost:
        said.append(
            f"Not all runs of {listed(lost)} have a result: their scores are means over the completed runs, which "
            "are biased, so they are listed last."
        )
    if any(row.pending for row in board.rows):
        said.append("Not all runs are finished: repeat the command that started them.")
    return said + differences(board)


def differences(board: Board) -> list[str]:
    """Sentences about the interval of each method's difference from the baseline."""
    found = {row.method: difference for row in board.rows if (difference := board.difference(row)) is not None}
    said = []
    for verdict in ("lower", "higher", "no difference shown", "too few seeds to tell"):
        methods = [f"{method} (n = {d.n})" for method, d in found.items() if d.verdict == verdict]
        if methods:
            named = f"all {len(methods)}" if len(methods) == len(found) > 1 else listed(methods)
            said.append(f"Difference (Δ) of {board.leading} from {board.baseline.method}, {verdict}: {named}.")
    if found:
        said.append(
            f"Δ is a method's mean minus that of {board.baseline.method}, in parentheses its 95 % bootstrap interval "
            "over training seeds, paired where seeds are shared; with fewer than 6 shared seeds, even the same sign in "
            "all of them arises by chance more than one time in twenty."
        )
    return said


def listed(names: Sequence[str]) -> str:
    """The names, and of many only the first."""
    left = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {left:,} more" if left > 0 else "")


def separation(boards: Sequence[Board]) -> str:
    """The reason for more than one table; empty for one."""
    if len(boards) < 2:
        return ""
    keys = dict.fromkeys(key for board in boards for key in board.protocol)
    parts = []
    for key in keys:
        values = [str(short(board.protocol.get(key, "none"))) for board in boards]
        if len(set(values)) > 1:
            parts.append(f"{key} ({printable(' / '.join(values))})")
    return f"{len(boards)} tables: their scores do not compare, because they have different {', '.join(parts)}."


def markdown(boards: Sequence[Board]) -> str:
    lines = ["# Leaderboard", "", *([markdown_line(separation(boards)), ""] if len(boards) > 1 else [])]
    for position, board in enumerate(boards, 1):
        lines += [f"## Protocol {position}", ""] if len(boards) > 1 else []
        for text in text_tables(board):
            lines += [f"**{markdown_cell(text.title)}**", ""]
            lines.append(f"| {' | '.join(map(markdown_cell, text.header))} |")
            lines.append(f"| --- |{' ---: |' * (len(text.header) - 1)}")
            lines += [f"| {' | '.join(map(markdown_cell, row))} |" for row in text.rows]
            lines.append("")
        lines += [f"- {markdown_line(note)}" for note in notes(board)] + [""]
    return "\n".join(lines)


def markdown_cell(text: str) -> str:
    """Any text, escaped, so that nothing in it is Markdown, a formula, HTML or a link."""
    entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|"}
    escaped = "".join(entities.get(letter, letter) for letter in " ".join(text.split()))
    escaped = re.sub(r"[`*\[\]~$]|\\(?!\|)|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", escaped)
    return re.sub(r":(?=//)|(?<=www)\.|@(?=\w)", r"\\\g<0>", escaped, flags=re.IGNORECASE)


def markdown_line(text: str) -> str:
    """A cell's text at the start of a line, where it is no heading, list or rule either."""
    return re.sub(r"^(\d{0,9})([#+=.)-])", r"\1\\\2", markdown_cell(text))


def latex(boards: Sequence[Board]) -> str:
    r"""Needs \usepackage{booktabs}."""
    parts = [r"% needs \usepackage{booktabs}", *([f"% {latex_cell(separation(boards))}"] if len(boards) > 1 else [])]
    for board in boards:
        for text in text_tables(board):
            columns = "l" + "r" * (len(text.header) - 1)
            body = [rf"{' & '.join(map(latex_cell, row))} \\" for row in text.rows]
            parts += [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{latex_cell(text.title)}}}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                rf"{' & '.join(map(latex_cell, text.header))} \\",
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        parts += [f"% {latex_cell(note)}" for note in notes(board)]
    return "\n".join(parts) + "\n"


def latex_cell(text: str) -> str:
    """Any text in one line, escaped, also where a command before it looks for `[` or `*`."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "Δ": r"$\Delta$",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",
        "]": "{]}",
        "*": "{*}",
    } | {letter: f"\\{letter}" for letter in "&%$#_{}"}
    return "".join(special.get(letter, letter) for letter in " ".join(text.split()))


def comma_separated(board: Board) -> str:
    """Every number of a board, a row for each method; no cell is a formula for a spreadsheet."""
    rows = [{inert(key): inert(cell) for key, cell in flat_row(board, row).items()} for row in board.rows]
    columns = dict.fromkeys(column for row in rows for column in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def inert(cell: Any) -> Any:
    """Text that a spreadsheet would calculate gets an apostrophe, as OWASP advises; numbers stay numbers."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip().startswith(FORMULA) else cell


def flat_row(board: Board, row: Row) -> dict[str, object]:
    cells: dict[str, object] = {
        "method": row.method,
        "latent_sampler": row.latent_sampler,
        "seeds": " ".join(str(result.seed) for result in row.results),
        "runs": len(row.results),
        "completed": len(row.completed),
        "diverged": row.lost.get("diverged", 0),
        "collapsed": row.lost.get("collapsed", 0),
        "failed": row.lost.get("failed", 0),
        "unfinished": sum(row.pending.values()),
    }
    cells |= {f"published_{metric}": row.published.get(metric) for metric in board.published}
    for metric in board.metrics:
        cells |= flat_spread(f"{metric}_last", row.last(metric)) | flat_spread(f"{metric}_best", row.best(metric))
        cells |= {f"{metric}_trajectory_{name}": value for name, value in row.trajectory(metric).items()}
    found = board.difference(row)
    if found is not None:
        low, high = found.interval or (None, None)
        cells |= {"baseline": board.baseline.method, "difference": found.mean, "difference_low": low}
        cells |= {"difference_high": high, "difference_n": found.n, "difference_verdict": found.verdict}
    for key in (*COSTS, *board.updates):
        cells |= flat_spread(key, row.cost(key))
    for key in SAMPLING:
        cells[f"sampling_{key}"] = mean(row.sampling(key))
    return cells | {f"protocol_{key}": value for key, value in board.protocol.items()}


def flat_spread(name: str, values: Spread | None) -> dict[str, object]:
    if values is None:
        return {}
    return {
        f"{name}_mean": values.mean,
        f"{name}_std": values.std,
        f"{name}_min": values.low,
        f"{name}_max": values.high,
        f"{name}_n": values.n,
    }
