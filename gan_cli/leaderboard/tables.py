"""Boards as tables of text, in Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from gan_cli.leaderboard.boards import MOST_RANKED, WORST, Board, Row
from gan_cli.leaderboard.results import Result
from gan_cli.leaderboard.statistics import MOST_SEEDS, Difference, Spread, Verdict, fewest_seeds, spread
from gan_cli.metrics.metrics import Direction
from gan_cli.runs.summary import REAL, short
from gan_cli.runs.verdict import Verification
from gan_cli.sweep.formats import Tuned
from gan_cli.text import printable

OF_HARDWARE = ("seconds", "scoring_seconds", "images_per_second", "peak_memory_bytes")  # never averaged over several
COSTS = (*OF_HARDWARE, "images_seen")
EXTENT = "min to max"
MIXED = "mixed hardware"
WIDTH = 80  # columns of a terminal
WIDEST_NAME = 30  # of them for the name of a method
MOST_DIGITS = 5  # of a mean, however small its uncertainty
MOST_LISTED = 20  # methods in a sentence
ARROWS: dict[Direction | None, str] = {"lower": "↓", "higher": "↑"}
SAMPLING = ("seconds", "generator_passes", "discriminator_passes", "gradient_calls")

FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # the last four are fullwidth forms of the first

Columns = list[tuple[str, Callable[[Row], str]]]


@dataclass(frozen=True)
class TextTable:
    """`links`, if there are any, lead from the first cell of each row of a page to a folder; `last` is no method's."""

    title: str
    header: list[str]
    rows: list[list[str]]
    links: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)

    @property
    def all_rows(self) -> list[list[str]]:
        return [*self.rows, *([self.last] if self.last else [])]


def text_tables(board: Board) -> list[TextTable]:
    """At the last step; what the seeds tell; the best checkpoint and along training; cost."""
    arrows = {
        name: f"{name.removesuffix('_mean')} {ARROWS.get(board.directions.get(name), '')}".rstrip()
        for name in board.metrics
    }
    last: Columns = [("method", lambda row: row.method), ("runs", runs)]
    if board.tuned:
        last.append(("learning rates", lambda row: f"{row.tuned['factor']:g}x" if row.tuned else "-"))
    published: Columns = [(f"published {metric}", quoted(metric)) for metric in board.published]
    if board.leading is None:
        last += published
    for metric in board.metrics:
        last.append((arrows[metric], lambda row, metric=metric: shown(row.last(metric))))  # type: ignore[misc]
        if metric == board.leading:
            last += published
        if metric in board.headlines:
            last.append((EXTENT, lambda row, metric=metric: extent(row.last(metric))))  # type: ignore[misc]
        if metric == board.leading:
            last.append((f"Δ to {board.baseline.method}", lambda row: shown_difference(board.difference(row))))
    first = table("At the last step, mean ± SD over training seeds", board, last)
    names = {arrows[metric]: metric for metric in board.metrics}
    floors = [number_or_dash(board.floors.get(names.get(title, ""))) for title in first.header[1:]]
    tables = [replace(first, last=[REAL, *floors])] if board.floors else [first]
    if board.leading is not None:
        leading = board.leading
        if board.differences:
            tables.append(told_table(board, arrows[leading]))
        along: Columns = [("method", lambda row: row.method)]
        best: Columns = [
            (f"best {arrows[metric]}", lambda row, metric=metric: shown(row.best(metric)))  # type: ignore[misc]
            for metric in board.headlines
        ]
        along += best[:1]
        for name in ("min", "max", "mean", "std"):
            title = "SD" if name == "std" else name
            along.append((title, lambda row, name=name: number_or_dash(row.trajectory(leading).get(name))))  # type: ignore[misc]
        along += best[1:]
        title = f"Best checkpoint; extremes, mean and SD of {arrows[leading]} along a run"
        tables.append(table(title, board, along))
    cost: Columns = [
        ("method", lambda row: row.method),
        ("seconds", lambda row: of_hardware(row, "seconds")),
        ("scoring seconds", lambda row: of_hardware(row, "scoring_seconds")),
        ("images/s", lambda row: of_hardware(row, "images_per_second")),
        ("peak memory, MiB", lambda row: of_hardware(row, "peak_memory_bytes", 2**-20)),
        ("latent sampler", lambda row: row.latent_sampler),
        *([("hardware", lambda row: " / ".join(by_hardware(row)))] if len(all_hardware(board)) > 1 else []),
        ("images seen", lambda row: count(row.cost("images_seen"))),
        *((f"updates of {key[0].upper()}", lambda row, key=key: count(row.cost(key))) for key in board.updates),
        ("gradient calls an image sampled", lambda row: number_or_dash(mean(row.sampling("gradient_calls")))),
    ]
    tables.append(table("Cost of a run", board, cost))
    return [replace(one, title=f"{board.title}. {one.title}") for one in tables] if board.title else tables


def told_table(board: Board, leading: str) -> TextTable:
    columns: Columns = [
        ("method", lambda row: row.method),
        ("rank", lambda row: rank(board, row)),
        (f"than {board.baseline.method}", lambda row: told(board.difference(row))),
        ("p", lambda row: probability(getattr(board.difference(row), "p", None))),
        ("could show", lambda row: number_or_dash(getattr(board.difference(row), "detectable", None))),
        ("seeds needed", lambda row: seeds_needed(board.difference(row))),
        ("CV", lambda row: variation(row.last(board.metrics[0]))),
    ]
    if any(row.sigmas(board.metrics[0]) for row in board.rows):
        columns += [
            ("σ train", lambda row: number_or_dash(sigmas(board, row)[1])),
            ("σ sample", lambda row: number_or_dash(sigmas(board, row)[0])),
        ]
    return table(f"What the seeds tell of {leading}", board, columns)


def sigmas(board: Board, row: Row) -> tuple[float | None, float | None]:
    return row.sigmas(board.metrics[0]) or (None, None)


def rank(board: Board, row: Row) -> str:
    """1 to 4: which ranks the method may have."""
    return " to ".join(map(str, dict.fromkeys(board.ranks[row.method]))) if row.method in board.ranks else "-"


def told(difference: Difference | None) -> str:
    return "-" if difference is None else difference.verdict


def probability(p: float | None) -> str:
    return "-" if p is None else "<0.0001" if p < 1e-4 else f"{p:.2g}"


def seeds_needed(difference: Difference | None) -> str:
    if difference is None or difference.verdict != "cannot tell" or difference.n < 2:
        return "-"
    return f">{MOST_SEEDS:,}" if difference.seeds is None else f"{difference.seeds:,}"


def variation(values: Spread | None) -> str:
    """The coefficient of variation over training seeds, in percent."""
    found = coefficient(values)
    return "-" if found is None else f"{number(float(f'{100 * found:.2g}'))} %"


def coefficient(values: Spread | None) -> float | None:
    """SD over the mean's size; None without one."""
    return values.std / abs(values.mean) if values is not None and values.std is not None and values.mean else None


def table(title: str, board: Board, columns: Columns) -> TextTable:
    return TextTable(title, [name for name, _ in columns], [[cell(row) for _, cell in columns] for row in board.rows])


def runs(row: Row) -> str:
    """3, or 2 of 3 (1 diverged)."""
    others = ", ".join(f"{number} {state}" for state, number in (row.lost | row.stopped | row.pending).items())
    return f"{len(row.completed)} of {len(row.results)} ({others})" if others else str(len(row.completed))


def quoted(metric: str) -> Callable[[Row], str]:
    """Shows a published score with the published digits."""
    return lambda row: f"{row.published[metric]:g}" if metric in row.published else "-"


def by_hardware(row: Row) -> dict[str, list[Result]]:
    """The completed runs by the machine that they ran on, or machines, if a run was continued on another one."""
    found: dict[str, list[Result]] = {}
    for result in row.completed:
        sessions = [session["hardware"] for session in result.summary.get("sessions", [])]
        machines = sessions or [result.summary.get("hardware")]
        names = dict.fromkeys(machine_name(machine) for machine in machines if machine)
        device = result.summary["cost"].get("device", "unknown")  # all that runs of earlier versions say
        found.setdefault(", then ".join(names) or device, []).append(result)
    return found


def machine_name(hardware: Mapping[str, Any]) -> str:
    threads = hardware["threads"]
    parts = [hardware["gpu"], hardware["cpu"], f"{threads} thread{'s' * (threads != 1)}"]
    return ", ".join(part for part in parts if part)


def all_hardware(board: Board) -> dict[str, list[str]]:
    """The methods that ran on each machine."""
    found: dict[str, list[str]] = {}
    for row in board.rows:
        for name in by_hardware(row):
            found.setdefault(name, []).append(row.method)
    return found


def of_hardware(row: Row, key: str, factor: float = 1.0) -> str:
    """A cost, unless it would be a mean over different machines."""
    cost = row.cost(key)
    return MIXED if cost is not None and len(by_hardware(row)) > 1 else shown(cost, factor)


def shown(values: Spread | None, factor: float = 1.0) -> str:
    """The mean, with as many digits as its standard deviation justifies, such as 0.148 ± 0.066 and 3,090 ± 250."""
    if values is None:
        return "-"
    mean, std = factor * values.mean, values.std
    if std is None or std == 0:
        return number(mean) + (" ± 0" if std == 0 else "")
    std *= factor
    digits = decimals(mean, std)
    if digits is None:
        return f"{number(mean)} ± {number(std)}"
    least = 10.0**-digits
    return f"{fixed(mean, digits)} ± " + (f"<{fixed(least, digits)}" if std < least / 2 else fixed(std, digits))


def decimals(mean: float, uncertainty: float) -> int | None:
    """Those that show two digits of the uncertainty, but not more than five of the mean.

    None for numbers that are very large or very small.
    """
    largest = max(abs(mean), uncertainty)
    if not 1e-4 <= largest < 1e9 or uncertainty <= 0:
        return None
    return min(1 - exponent(uncertainty), MOST_DIGITS - 1 - exponent(largest))


def exponent(value: float) -> int:
    """Of ten, after rounding to two digits."""
    return int(f"{value:.1e}".partition("e")[2])


def fixed(value: float, digits: int) -> str:
    """With this number of decimals; a negative number of them rounds to tens or hundreds; no -0."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:,.{max(0, digits)}f}"


def extent(values: Spread | None) -> str:
    """Minimum and maximum with the digits of mean and deviation; one number if they print equal."""
    if values is None:
        return "-"
    digits = decimals(values.mean, values.std or 0.0)
    low, high = (number(end) if digits is None else fixed(end, digits) for end in (values.low, values.high))
    return low if low == high else f"{low} to {high}"


def shown_difference(difference: Difference | None) -> str:
    """With its sign, and as many digits as its interval justifies."""
    if difference is None:
        return "-"
    if difference.interval is None:
        return signed(difference.mean, None)
    low, high = difference.interval
    digits = decimals(max(map(abs, (difference.mean, low, high))), (high - low) / 2)
    ends = [signed(end, digits) for end in (low, high)]
    return f"{signed(difference.mean, digits)} ({' to '.join(dict.fromkeys(ends))})"


def signed(value: float, digits: int | None) -> str:
    text = number(value) if digits is None else fixed(value, digits)
    return text if text.startswith("-") else f"+{text}"


def mean(values: Spread | None) -> float | None:
    return None if values is None else values.mean


def number(value: float) -> str:
    """Three digits, without an exponent for numbers from 1e-7 to 1e9."""
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    if 1e-7 <= abs(value) < 1e-4:
        return f"{value:.{2 - int(f'{value:.2e}'.partition('e')[2])}f}".rstrip("0")
    return f"{value:.3g}"


def number_or_dash(value: float | None) -> str:
    return "-" if value is None else number(value)


def count(values: Spread | None) -> str:
    return "-" if values is None else f"{values.mean:,.0f}"


def notes(board: Board) -> list[str]:
    """Sentences about the protocol, the budget, runs without a result, and the differences."""
    protocol = ", ".join(f"{key} {short(value)}" for key, value in board.protocol.items())
    said = [f"Protocol: {protocol}."] if protocol else []
    if board.leading is not None:
        said.append("SD and ± are sample standard deviations, with n - 1: over training seeds, or a run's evaluations.")
    if board.floors:
        said.append(
            "Real against real: one random half of the real images against the other; it gives a scale, and a method "
            "can be better."
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
    machines = all_hardware(board)
    if len(machines) > 1:
        named = "; ".join(f"{name}: {listed(methods)}" for name, methods in list(machines.items())[:MOST_LISTED])
        said.append(f"Seconds, images/s and memory compare only on the same hardware. {named}.")
    said += [mixed(row) for row in board.rows if len(by_hardware(row)) > 1][:MOST_LISTED]
    lost = [row.method for row in board.rows if row.lost]
    if lost:
        said.append(
            f"Not all runs of {listed(lost)} have a result: their scores are means over the completed runs, which "
            "are biased, so they are listed last."
        )
    stopped = [row.method for row in board.rows if row.stopped]
    if stopped:
        said.append(f"Stopped by a race before their last step, and so without a score: {listed(stopped)}.")
    if any(row.pending for row in board.rows):
        said.append("Not all runs are finished: repeat the command that started them.")
    return [*said, *tuning(board), *differences(board), *verdicts(board)]


def verdicts(board: Board) -> list[str]:
    """A sentence about the runs that gan-verify has computed again, if there are some."""
    results = [result for row in board.rows for result in row.results]
    found = [verdict for result in results if (verdict := result.verdict) is not None]
    if not found:
        return []
    replayed, steps = (sum(verdict["proved"][key] for verdict in found) for key in ("replayed", "steps"))
    partly = [row.method for row in board.rows if any(result.verdict is None for result in row.results)]
    others = f"; not all of {listed(partly)}" if partly else ""
    of_steps = f"{replayed:,} of their {steps:,} steps replayed"
    return [
        f"Verified by gan-verify: {len(found)} of {len(results)} runs, {of_steps} ({when_and_where(found)}){others}."
    ]


def verified(row: Row) -> str:
    """3 of 3 (2026-11-29, the machine); empty if none of its runs has a verdict on its files as they are."""
    found = [verdict for result in row.results if (verdict := result.verdict) is not None]
    return f"{len(found)} of {len(row.results)} ({when_and_where(found)})" if found else ""


def when_and_where(found: Sequence[Verification]) -> str:
    days = sorted({verdict["date"][:10] for verdict in found})
    machines = dict.fromkeys(verdict["hardware"]["gpu"] or verdict["hardware"]["cpu"] for verdict in found)
    return f"{' to '.join(dict.fromkeys((days[0], days[-1])))}, {' / '.join(machines)}"


def tuning(board: Board) -> list[str]:
    """Sentences about how the learning rates of its methods were chosen, and at what cost."""
    ways = board.tuned
    said = [
        f"Learning rates of both players are each method's own times a factor, chosen of "
        f"{', '.join(f'{factor:g}' for factor in way['factors'])} by a race of its own over the seeds "
        f"{', '.join(map(str, way['seeds']))}, which are in no table: {way['steps']:,} steps of training"
        + (", the same for every method." if len(ways) == 1 else f" for {listed(tuned_in(board, way))}.")
        for way in ways
    ]
    if len(ways) > 1:
        said.append("The budgets of tuning are not equal: repeat tuned=true with all methods in one command.")
    ends = [row.method for row in board.rows if row.tuned and row.tuned["factor"] in ends_of(row.tuned["factors"])]
    if ends:
        said.append(f"Chosen at an end of these factors, so that others might be better still: {listed(ends)}.")
    return said


def ends_of(factors: Sequence[float]) -> tuple[float, float]:
    return min(factors), max(factors)


def tuned_in(board: Board, way: Tuned) -> list[str]:
    def budget(one: Tuned | None) -> Any:
        return one and (one["factors"], one["seeds"], one["steps"])

    return [row.method for row in board.rows if budget(row.tuned) == budget(way)]


def mixed(row: Row) -> str:
    """The seconds of a method that ran on several machines, on each of them."""
    each = (
        f"{shown(spread(result.summary['cost'].get('seconds') for result in results))} on {name}"
        for name, results in by_hardware(row).items()
    )
    return f"{row.method} ran on {MIXED}, so its costs are not averaged: seconds {'; '.join(each)}."


def differences(board: Board) -> list[str]:
    """Sentences about each method's difference from the baseline, the margin, the test and the ranks."""
    found = {row.method: difference for row in board.rows if (difference := board.difference(row)) is not None}
    if not found:
        return []
    said, baseline, count = [], board.baseline.method, len(found)
    for verdict in get_args(Verdict):
        methods = [needing(method, one) for method, one in found.items() if one.verdict == verdict]
        if methods:
            words = f"equivalent to {baseline}" if verdict == "equivalent" else f"{verdict} than {baseline}"
            words = f"cannot be told from {baseline}" if verdict == "cannot tell" else words
            said.append(
                f"{board.leading}, {words}: {f'all {count}' if len(methods) == count > 1 else listed(methods)}."
            )
    fewest = fewest_seeds(count, board.paired)
    if fewest is not None and all(one.detectable is None for one in found.values()):
        said.append(
            f"These are too few seeds for any difference to show: it takes {fewest} for each method, where "
            f"{'one is' if count == 1 else f'{count} are'} compared with {baseline}."
        )
    if board.margin is not None:
        source = "a tenth of the real-against-real score" if board.given_margin is None else "as given"
        said.append(
            f"Equivalent: within {number(board.margin)} of {baseline} ({source}), by two one-sided t tests at 5 %."
        )
    tests = (
        "sign flips of pairs of one seed, and of Student's t test of them"
        if board.paired
        else "relabelled runs, and of Welch's t test"
    )
    said.append(
        f"Δ is a method's mean minus that of {baseline}, in parentheses its 95 % interval by Student's t, for this "
        f"method alone. Lower and higher follow p, the larger one of a permutation test, of {tests}; it is corrected "
        f"for {count} method{'s' * (count != 1)} by Holm, and so is the test of equivalence."
    )
    said.append(
        "Could show: the smallest difference that these seeds would have shown four times in five. Seeds needed: for "
        "each method, to tell as often, if the difference and the SDs are as seen here. CV: SD over mean."
    )
    if any(sigmas(board, row)[0] is not None for row in board.rows):
        said.append(
            "Each score is a mean over evaluation seeds. σ sample: the SD of one evaluation of a run; σ train: the SD "
            "over training seeds that is left without it."
        )
    if board.ranks:
        said.append(
            "Rank: from one more than the methods that are shown to be better, to all that are not shown to be worse, "
            "by the same test of every pair, corrected for all pairs."
        )
    elif len(board.outcomes) > MOST_RANKED:
        said.append(f"Ranks are told of at most {MOST_RANKED} methods.")
    if any(result.state in WORST for row in board.rows for result in row.results):
        said.append(
            "In tests, runs that diverged or collapsed count as the worst: methods with such runs are compared by the "
            "ranks of their runs. Means and intervals are without them."
        )
    return said


def needing(method: str, difference: Difference) -> str:
    seeds = seeds_needed(difference)
    return method if seeds == "-" else f"{method} ({seeds} seeds needed)"


def listed(names: Sequence[str]) -> str:
    """The names, and of many only the first."""
    left = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {left:,} more" if left > 0 else "")


def separation(boards: Sequence[Board]) -> str:
    """The reason for more than one table; empty for one."""
    if len(boards) < 2:
        return ""
    keys = dict.fromkeys(key for board in boards for key in board.protocol)
    titles = dict.fromkeys(board.title for board in boards if board.title)
    beside = f"{len(boards)} tables: {'; '.join(titles)}." if titles else ""
    parts = []
    for key in keys:
        values = [str(short(board.protocol.get(key, "none"))) for board in boards]
        if len(set(values)) > 1:
            parts.append(f"{key} ({printable(' / '.join(values))})")
    if not parts:
        return beside
    apart = f"{len(boards)} tables: their scores do not compare, because they have different {', '.join(parts)}."
    return f"{beside} {apart}".lstrip()


def headings(boards: Sequence[Board]) -> list[str]:
    """What each of several tables is called."""
    alike = Counter(board.title for board in boards)
    numbered = [f"{board.title}, protocol {number}".lstrip(", ") for number, board in enumerate(boards, 1)]
    return [
        board.title if board.title and alike[board.title] == 1 else f"{name[0].upper()}{name[1:]}"
        for board, name in zip(boards, numbered, strict=True)
    ]


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
    """Tables that fit a terminal's 80 columns, padded, so that they are read as text, too."""
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
