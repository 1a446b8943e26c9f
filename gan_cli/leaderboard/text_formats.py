"""Boards in Markdown, LaTeX and CSV; no text in them is a command of the format."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from gan_cli.leaderboard.boards import Board, Row
from gan_cli.leaderboard.notes import headings, notes, separation
from gan_cli.leaderboard.statistics import Spread
from gan_cli.leaderboard.tables import (
    COSTS,
    EXTENT,
    OF_HARDWARE,
    SAMPLING,
    TextTable,
    by_hardware,
    coefficient,
    mean,
    text_tables,
    verified,
)
from gan_cli.text import markdown_cell

WIDTH = 110  # letters of a line of leaderboard.md


WIDEST_NAME = 30  # of them for the name of a method


FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # the last four are fullwidth forms of the first


def fitting(text: TextTable, width: int, frame: Callable[[list[int]], int]) -> tuple[list[int], str]:
    """The columns, in order of importance, that fit the width, and a sentence about those left out.

    `frame` says how wide a table is whose columns have these widths. The first two columns are always shown. A name
    of more than WIDEST_NAME letters does not count: its row is longer, or is folded.
    """
    widths = [max(map(len, column)) for column in zip(text.header, *text.all_rows, strict=True)]
    widths[0] = min(widths[0], WIDEST_NAME)
    kept = [0]
    for position in sorted(range(1, len(widths)), key=lambda n: (n > 2, text.header[n] == EXTENT, n)):
        if len(kept) < 2 or frame([widths[n] for n in sorted([*kept, position])]) <= width:
            kept.append(position)
    left = dict.fromkeys(name for n, name in enumerate(text.header) if n not in kept)
    said = f"Left out here, in the CSV file: {'; '.join(left)}." if left else ""
    return sorted(kept), said


def markdown(boards: Sequence[Board]) -> str:
    """Tables that fit 110 columns, padded, so that they are read as text, too."""
    lines = ["# Leaderboard", "", *([markdown_line(separation(boards)), ""] if len(boards) > 1 else [])]
    for heading, board in zip(headings(boards), boards, strict=True):
        lines += [f"## {heading}", ""] if len(boards) > 1 else []
        for text in text_tables(board):
            lines += [f"**{markdown_cell(text.title)}**", "", *markdown_table(text), ""]
        lines += [f"- {markdown_line(note)}" for note in notes(board)] + [""]
    return "\n".join(lines)


def markdown_table(text: TextTable) -> list[str]:
    escaped = TextTable(
        text.title, [*map(markdown_cell, text.header)], [[*map(markdown_cell, row)] for row in text.all_rows]
    )
    kept, left = fitting(escaped, WIDTH, lambda widths: sum(max(3, width) + 3 for width in widths) + 1)
    chosen = [[row[n] for n in kept] for row in (escaped.header, *escaped.rows)]
    widths = [max(3, *map(len, column)) for column in zip(*chosen, strict=True)]
    widths[0] = min(widths[0], WIDEST_NAME)
    padded = [
        [
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in chosen
    ]
    rule = [("-" * width) if n == 0 else f"{'-' * (width - 1)}:" for n, width in enumerate(widths)]
    lines = [f"| {' | '.join(row)} |" for row in (padded[0], rule, *padded[1:])]
    return [*lines, *(["", left] if left else [])]


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
            body += [r"\midrule", rf"{' & '.join(map(latex_cell, text.last))} \\"] if text.last else []
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
        **({"learning_rate_factor": row.tuned["factor"]} if row.tuned else {}),
        "latent_sampler": row.latent_sampler,
        "seeds": " ".join(str(result.seed) for result in row.results),
        "runs": len(row.results),
        "completed": len(row.completed),
        "diverged": row.lost.get("diverged", 0),
        "collapsed": row.lost.get("collapsed", 0),
        "failed": row.lost.get("failed", 0),
        "stopped": sum(row.stopped.values()),
        "unfinished": sum(row.pending.values()),
    }
    cells |= {"verified": words} if (words := verified(row)) else {}
    cells |= {f"published_{metric}": row.published.get(metric) for metric in board.published}
    for metric in board.metrics:
        cells |= flat_spread(f"{metric}_last", row.last(metric)) | flat_spread(f"{metric}_best", row.best(metric))
        cells[f"{metric}_last_cv"] = coefficient(row.last(metric))
        sigmas = row.sigmas(metric)
        cells |= (
            {}
            if sigmas is None
            else dict(zip((f"{metric}_sigma_sample", f"{metric}_sigma_train"), sigmas, strict=True))
        )
        cells |= {f"{metric}_trajectory_{name}": value for name, value in row.trajectory(metric).items()}
        cells[f"{metric}_floor"] = board.floors.get(metric)
    found = board.difference(row)
    if found is not None:
        low, high = found.interval or (None, None)
        cells |= {"baseline": board.baseline.method, "difference": found.mean, "difference_low": low}
        cells |= {
            "difference_high": high,
            "difference_n": found.n,
            "difference_paired": found.paired,
            "difference_verdict": found.verdict,
        }
        cells |= {"difference_p": found.p, "difference_p_equivalent": found.p_equivalent, "margin": found.margin}
        cells |= {"difference_detectable": found.detectable, "seeds_needed": found.seeds}
    cells |= dict(zip(("rank_best", "rank_worst"), board.ranks.get(row.method, (None, None)), strict=True))
    cells["hardware"] = " / ".join(by_hardware(row))
    for key in (*COSTS, *board.updates):
        averaged = key not in OF_HARDWARE or len(by_hardware(row)) < 2
        cells |= flat_spread(key, row.cost(key)) if averaged else {}
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
