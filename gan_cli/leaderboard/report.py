"""leaderboard.csv, .md, .tex, curves.png and report.html, from the files of runs."""

import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from gan_cli.config.compose import studies
from gan_cli.errors import UserError, one_line
from gan_cli.files import atomic, is_there, write_json
from gan_cli.leaderboard.boards import Board, boards
from gan_cli.leaderboard.cache import cache_of
from gan_cli.leaderboard.claims_page import keep, outcome, sentences, write_page
from gan_cli.leaderboard.figures import curves, own_picture, ranks, save, study_picture
from gan_cli.leaderboard.notes import notes, separation
from gan_cli.leaderboard.page import ROWS_SHOWN, page
from gan_cli.leaderboard.results import gather, only_sweep
from gan_cli.leaderboard.tables import text_tables
from gan_cli.leaderboard.text_formats import WIDEST_NAME, comma_separated, fitting, latex, markdown
from gan_cli.runs.folder import fresh
from gan_cli.runs.summary import console
from gan_cli.sweep.formats import Outcome, Picture
from gan_cli.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_OF_COMMAND = 2000  # letters


def report(options: dict[str, Any]) -> None:
    """gan-report: the tables of existing runs."""
    folders = [Path(folder) for folder in options["folders"]]
    claims = None if options["claims"] is None else Path(options["claims"])
    if not folders and claims is None:
        raise UserError("which runs? give folders: gan-report outputs/sweeps/<sweep>")
    if claims is not None and not folders and not claims.is_dir():
        raise UserError(
            f"claims={printable(claims)} is not a folder: gan-report <sweep> claims={printable(claims)} makes it"
        )
    margin, paired = options["margin"], options["paired"]
    if margin is not None and not margin > 0:
        raise UserError(f"margin={margin} must be above 0")
    if folders:
        out = place(folders, options)
        found = write_report(folders, out, options["baseline"], options["trust"], margin, paired)
        if claims is not None:
            if found is None:
                raise UserError(
                    f"claims={options['claims']}: {printable(folders[0])} is not a sweep of a study with a claim"
                )
            keep(found, claims, sorted(out.glob("study*.png")))
    if claims is not None:
        print(f"written: {printable(write_page(claims, studies()))}")


def place(folders: Sequence[Path], options: Mapping[str, Any]) -> Path:
    """Where the tables go: the folder that is named, else the sweep's own, else a new one."""
    if options["out"] is not None:
        return Path(options["out"])
    if is_sweep(folders):
        return folders[0]
    return fresh(Path(options["outputs"]) / "reports", "report")


def write_report(
    folders: Sequence[Path],
    out: Path,
    baseline: str | None,
    trust: Sequence[str] = (),
    margin: float | None = None,
    paired: bool | None = None,
) -> "Outcome | None":
    """Writes everything into `out`, and prints the first table of each board, and what became of the study's claim.

    A study's own picture is drawn if its function is in a package of `trust`. Returns the outcome of the claim, if the
    runs are of one sweep whose study has one.

    Raises UserError for folders without runs, a baseline that is not a method, and a folder that cannot be written.
    """
    cache = cache_of(folders)
    results = gather(folders, cache)
    sweep = only_sweep(folders)
    found = boards(
        results,
        baseline or sweep.get("baseline"),
        sweep.get("margin") if margin is None else margin,
        bool(sweep.get("paired") if paired is None else paired),
    )
    suffixes = ["", *(f"-{position}" for position in range(2, len(found) + 1))]
    claimed = outcome(sweep, [result for result in results if result.tuned is None])
    draw_study = study_drawing(sweep.get("picture"), trust)
    command = (
        sweep.get("command", [])
        if is_sweep(folders)
        else report_command(folders, out, {"baseline": baseline, "margin": margin, "paired": paired})
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        texts = {"leaderboard.md": markdown(found), "leaderboard.tex": latex(found)}
        drawings = []
        for board, suffix in zip(found, suffixes, strict=True):
            texts[f"leaderboard{suffix}.csv"] = comma_separated(board)
            ranked = ranks(board)
            figures = ({} if ranked is None else {"ranks": ranked}) | {"curves": curves(board)}
            studied = draw_study(board)
            if studied is not None:
                figures = {"study": studied} | figures
            drawn = {name: out / f"{name}{suffix}.png" for name in figures}
            for name, path in drawn.items():
                save(path, figures[name])
            drawings.append(drawn)
        told = {} if claimed is None else {"claim": sentences(claimed)[0].removeprefix("Claim: ")}
        texts["report.html"] = page(found, drawings, out, about(folders, command) | told)
        for name, text in texts.items():
            with atomic(out / name) as partial:
                partial.write_text(text, encoding="utf-8")
        if claimed is not None:
            write_json(out / "claim.json", claimed)
    except OSError as error:
        raise UserError(f"the report cannot be written: {one_line(error)}") from error
    cache.save()
    show(found, out)
    for line in sentences(claimed) if claimed is not None else []:
        console().print(Text(line), soft_wrap=True)
    return claimed


def is_sweep(folders: Sequence[Path]) -> bool:
    return len(folders) == 1 and is_there(folders[0] / "sweep.json")


def study_drawing(picture: Picture | str | None, trust: Sequence[str]) -> "Callable[[Board], Figure | None]":
    """What draws a study's picture of a board, if it can be drawn; an own one without trust is named in a warning."""
    if isinstance(picture, str):
        from gan_cli.config.trust import trusted_function  # here: it imports torch

        try:
            return partial(own_picture, trusted_function("picture", picture, trust))
        except UserError as error:
            warnings.warn(f"left out: {error}", stacklevel=1)
            return lambda board: None
    return lambda board: study_picture(board, picture) if picture else None


def report_command(folders: Sequence[Path], out: Path, options: Mapping[str, Any]) -> list[str]:
    given = [
        f"{key}={str(value).lower() if value is True or value is False else value}"
        for key, value in options.items()
        if value is not None
    ]
    return ["gan-report", *map(str, folders), f"out={out}", *given]


def about(folders: Sequence[Path], command: Sequence[str]) -> dict[str, str]:
    """What the page is of: its name, when it was written, and which command made its runs, or the page."""
    names = [folder.resolve().name for folder in folders]
    name = names[0] if len(names) == 1 else f"{len(names)} folders: {', '.join(names)}"
    return {
        "name": printable(name),
        "command": printable(shlex.join(command), MOST_OF_COMMAND),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def show(found: Sequence[Board], out: Path) -> None:
    """The first table of each board on stdout."""
    printer = console()
    if len(found) > 1:
        printer.print(Text(separation(found)), soft_wrap=True)
    for board in found:
        text = text_tables(board)[0]
        table = Table(title=text.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        shown, left = fitting(text, printer.width, lambda widths: sum(widths) + 3 * len(widths) - 1)
        for number in shown:
            column = Text(text.header[number])
            table.add_column(
                column,
                justify="right" if number else "left",
                overflow="fold",
                max_width=None if number else WIDEST_NAME,
            )
        for row in text.rows[:ROWS_SHOWN]:
            table.add_row(*(Text(row[number]) for number in shown))
        if text.last:
            table.add_row(*(Text(text.last[number]) for number in shown))
        printer.print(table)
        if len(text.rows) > ROWS_SHOWN:
            printer.print(Text(f"and {len(text.rows) - ROWS_SHOWN:,} more methods, which the files have"))
        if left:
            printer.print(Text(left), soft_wrap=True)
        for note in notes(board):
            printer.print(Text(note), soft_wrap=True)
    written = f"written: {printable(out / 'leaderboard.md')}, .csv, .tex, {printable(out / 'report.html')}"
    printer.print(Text(written), soft_wrap=True)
