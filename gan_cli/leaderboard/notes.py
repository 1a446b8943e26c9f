"""Sentences about a board: its protocol, its budget, its runs, and what its differences say."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from gan_cli.leaderboard.boards import MOST_RANKED, WORST, Board, Row
from gan_cli.leaderboard.statistics import Difference, Verdict, fewest_seeds, spread
from gan_cli.leaderboard.tables import (
    MIXED,
    all_hardware,
    by_hardware,
    number,
    seeds_needed,
    shown,
    sigmas,
    when_and_where,
)
from gan_cli.runs.summary import short
from gan_cli.sweep.formats import Tuned
from gan_cli.text import printable

MOST_LISTED = 20  # methods in a sentence


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
    neither = [metric for metric in board.metrics if board.directions and metric not in board.directions]
    if neither:
        said.append(f"Neither lower nor higher is better: {listed(neither)}.")
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
