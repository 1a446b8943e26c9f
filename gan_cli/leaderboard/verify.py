"""gan-verify: a run, or each run of a sweep and then its table, computed again from what is recorded."""

import csv
import io
import itertools
import math
import random
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_cli.commands.verify import listed_steps, verify_run
from gan_cli.config.nodes import as_before, difference
from gan_cli.errors import DifferenceError, EndError, UserError, one_line
from gan_cli.files import is_there
from gan_cli.leaderboard.boards import boards
from gan_cli.leaderboard.results import gather
from gan_cli.leaderboard.text_formats import comma_separated, latex, markdown
from gan_cli.runs import checkpoint
from gan_cli.runs.verdict import Proved
from gan_cli.sweep.sweep_folder import SweepFolder
from gan_cli.text import printable

VERDICT, NOTE = "verified", "Verified by gan-verify"  # the column and the note of it: they are not in the record
NEGLIGIBLE = 1e-9  # relative, of the table's means and deviations


def verify(options: dict[str, Any]) -> None:
    """Prints what is compared, and `verified`; raises EndError with what differs first, or what is not possible."""
    path = Path(options["folder"])
    if min(options["spot"], options["seed"] or 0) < 0 or options["spot_steps"] < 1:
        raise UserError("spot and seed must be at least 0, and spot_steps at least 1")
    try:
        of_a_sweep, of_a_run = is_there(path / "sweep.json"), (path / "checkpoints").is_dir()
    except (OSError, ValueError) as error:
        raise UserError(f"folder={printable(path)} cannot be read: {one_line(error)}") from error
    seed = secrets.randbits(32) if options["seed"] is None else options["seed"]
    if of_a_run:
        try:
            proved = verify_run(path, options, seed, say)
        except DifferenceError as error:
            raise DifferenceError(f"not verified: {error}") from error
        say(f"verified: {told(proved)} (seed={seed})")
    elif of_a_sweep:
        verify_sweep(SweepFolder(path), options, seed)
    else:
        raise UserError(f"folder={printable(path)} is neither a run's folder nor a sweep's")


def say(line: str) -> None:
    print(printable(line, 2000), flush=True)


def told(proved: Proved) -> str:
    pieces = [f"{proved['replayed']:,} of {proved['steps']:,} steps"]
    if proved["scored"]:
        pieces.append(f"scores of {listed_steps(proved['scored'])}")
    how = "to the last bit" if proved["exact"] else f"within rounding ({proved['tolerance']:.1g} of a number)"
    return f"{', '.join(pieces)}, {how}"


def verify_sweep(sweep: SweepFolder, options: dict[str, Any], seed: int) -> None:
    """A line for each run, and one for each file of the table."""
    jobs = sweep.read()["jobs"]
    failed: list[EndError] = []
    verified = absent = 0
    for number, (name, job) in enumerate(jobs.items(), 1):
        run, place = sweep.run(name), f"{number}/{len(jobs)} {name}"
        if not run.checkpoints.is_dir():
            absent += 1
            say(f"{place}: not started")
            continue
        try:
            check_job(run.path, job["config"])
            own = random.Random(f"{seed} {name}").getrandbits(32)  # a run's segments do not depend on the others
            proved = verify_run(run.path, options, own, lambda line: None)
        except EndError as error:
            failed.append(error)
            kind = "differs" if isinstance(error, DifferenceError) else "not verified"
            say(f"{place}: {kind}: {error}")
        else:
            verified += 1
            say(f"{place}: verified: {told(proved)}")
    try:
        for line in check_tables(sweep.path):
            say(line)
    except DifferenceError as error:
        failed.append(error)
        say(f"table: differs: {error}")
    started = len(jobs) - absent
    if failed:
        worst = next((one for one in failed if isinstance(one, DifferenceError)), failed[0])
        raise type(worst)(f"{verified} of {started} runs verified (seed={seed}); first: {worst}")
    say(f"verified: {verified} of {started} runs, and the table (seed={seed}); gan-report {sweep.path} writes it there")


def check_job(path: Path, config: Mapping[str, Any]) -> None:
    """Raises DifferenceError for a run with another config than its job's."""
    found = checkpoint.newest(path)
    if found is not None and (changes := difference(as_before(config), as_before(found.config))):
        raise DifferenceError(f"its run has another config than sweep.json says: {changes}")


def check_tables(path: Path) -> list[str]:
    """Computes the sweep's tables from its runs' files, and compares; pictures and the page are not compared.

    Raises DifferenceError for the first cell or line that differs.
    """
    if not is_there(path / "leaderboard.csv"):
        return ["table: none is there"]
    stored = read_table(path / "leaderboard.csv")
    results = gather([path])
    sweep = SweepFolder(path).read()
    named = next((row["baseline"] for row in stored if row.get("baseline")), None)
    try:
        found = boards(results, named or sweep.get("baseline"))
    except UserError as error:
        raise DifferenceError(f"leaderboard.csv: {error}") from error
    compared = []
    for position, board in enumerate(found, 1):
        name = "leaderboard.csv" if position == 1 else f"leaderboard-{position}.csv"
        compare_table(name, read_table(path / name), read_rows(comma_separated(board)))
        compared.append(name)
    for name, text in (("leaderboard.md", markdown(found)), ("leaderboard.tex", latex(found))):
        if is_there(path / name):
            compare_text(name, read_text(path / name), text)
            compared.append(name)
    return [f"table: {', '.join(compared)}: what the runs' files give"]


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DifferenceError(f"{path.name} cannot be read: {one_line(error)}") from error


def read_table(path: Path) -> list[dict[str, str]]:
    try:
        return read_rows(read_text(path))
    except csv.Error as error:
        raise DifferenceError(f"{path.name} cannot be read: {one_line(error)}") from error


def read_rows(text: str) -> list[dict[str, str]]:
    """The cells of each row by column, but for the verdict; what is beside the columns has an empty name."""
    return [
        {str(key or ""): str(value or "") for key, value in row.items() if key != VERDICT}
        for row in csv.DictReader(io.StringIO(text))
    ]


def compare_table(name: str, stored: Sequence[Mapping[str, str]], given: Sequence[Mapping[str, str]]) -> None:
    if [row.get("method") for row in stored] != [row.get("method") for row in given]:
        raise DifferenceError(
            f"{name} has the methods {listed(stored)}, in this order, and the runs' files give {listed(given)}"
        )
    for theirs, ours in zip(stored, given, strict=True):
        for column, cell in theirs.items():
            if not alike(cell, ours.get(column)):
                now = "no such column" if column not in ours else repr(ours[column])
                raise DifferenceError(
                    f"{name}: {column} of {ours['method']} is {cell!r}, and the runs' files give {now}"
                )


def listed(rows: Sequence[Mapping[str, str]]) -> str:
    return ", ".join(row.get("method", "") for row in rows) or "none"


def alike(first: str, second: str | None) -> bool:
    """The same text, or numbers that differ by no more than the order of a sum."""
    if second is None or first == second:
        return first == second
    try:
        return math.isclose(float(first), float(second), rel_tol=NEGLIGIBLE)
    except ValueError:
        return False


def compare_text(name: str, stored: str, given: str) -> None:
    """Line by line, but for a note of a verdict."""
    theirs, ours = (
        [line for line in text.splitlines() if not line.lstrip("-% ").startswith(NOTE)] for text in (stored, given)
    )
    for number, (their, our) in enumerate(itertools.zip_longest(theirs, ours, fillvalue=""), 1):
        if their != our:
            raise DifferenceError(f"{name}, line {number}: {their!r}, and the runs' files give {our!r}")
