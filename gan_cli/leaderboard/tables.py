"""A board as tables of text: what stands in each cell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gan_cli.leaderboard.boards import Board, Row
from gan_cli.leaderboard.results import Result
from gan_cli.leaderboard.statistics import MOST_SEEDS, Difference, Spread
from gan_cli.runs.summary import REAL
from gan_cli.runs.verdict import Verification

if TYPE_CHECKING:  # it imports torch
    from gan_cli.metrics.metrics import Direction

OF_HARDWARE = ("seconds", "scoring_seconds", "images_per_second", "peak_memory_bytes")  # never averaged over several
COSTS = (*OF_HARDWARE, "images_seen")
EXTENT = "min to max"
MIXED = "mixed hardware"
MOST_DIGITS = 5  # of a mean, however small its uncertainty
ARROWS: "dict[Direction | None, str]" = {"lower": "↓", "higher": "↑"}
SAMPLING = ("seconds", "generator_passes", "discriminator_passes", "gradient_calls")


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


@lru_cache(maxsize=16)
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


def verified(row: Row) -> str:
    """3 of 3 (2026-11-29, the machine); empty if none of its runs has a verdict on its files as they are."""
    found = [verdict for result in row.results if (verdict := result.verdict) is not None]
    return f"{len(found)} of {len(row.results)} ({when_and_where(found)})" if found else ""


def when_and_where(found: Sequence[Verification]) -> str:
    days = sorted({verdict["date"][:10] for verdict in found})
    machines = dict.fromkeys(verdict["hardware"]["gpu"] or verdict["hardware"]["cpu"] for verdict in found)
    return f"{' to '.join(dict.fromkeys((days[0], days[-1])))}, {' / '.join(machines)}"
