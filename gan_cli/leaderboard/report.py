"""leaderboard.csv, .md, .tex, curves.png and report.html, from the files of runs."""

import base64
import io
import os
import secrets
import stat
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from gan_cli import __version__
from gan_cli.errors import UserError, one_line
from gan_cli.files import atomic
from gan_cli.leaderboard.boards import Board, boards
from gan_cli.leaderboard.figures import curves, last_grid, left_out, save, step_of, study_picture
from gan_cli.leaderboard.results import gather, only_sweep
from gan_cli.leaderboard.tables import (
    TextTable,
    comma_separated,
    fitting,
    latex,
    markdown,
    notes,
    separation,
    text_tables,
)
from gan_cli.runs.summary import console
from gan_cli.text import printable

WIDEST_NAME = 30  # letters of a method in a line of the terminal; longer ones are folded
THUMBNAIL = 640  # pixels; with images of 1,024 pixels the page would have a gigabyte
MOST_GRIDS = 24  # methods whose images the page shows
MOST_PICTURE_BYTES = 12_000_000  # of their images
ROWS_SHOWN = 100  # of a table at once
MOST_SETTINGS = 100  # columns
MOST_WARNINGS = 3  # of a run, in words


def report(options: dict[str, Any]) -> None:
    """gan-report: the tables of existing runs."""
    folders = [Path(folder) for folder in options["folders"]]
    if not folders:
        raise UserError("which runs? give folders: gan-report outputs/sweeps/<sweep>")
    if options["out"] is not None:
        out = Path(options["out"])
    else:
        out = folders[0] if len(folders) == 1 else Path(f"gan-report-{secrets.token_hex(3)}")
    write_report(folders, out, options["baseline"])


def write_report(folders: Sequence[Path], out: Path, baseline: str | None) -> None:
    """Writes everything into `out`, and prints the first table of each board.

    Raises UserError for folders without runs, a baseline that is not a method, and a folder that cannot be written.
    """
    results = gather(folders)
    sweep = only_sweep(folders)
    found = boards(results, baseline or sweep.get("baseline"))
    suffixes = ["", *(f"-{position}" for position in range(2, len(found) + 1))]
    picture = sweep.get("picture")
    try:
        out.mkdir(parents=True, exist_ok=True)
        texts = {"leaderboard.md": markdown(found), "leaderboard.tex": latex(found)}
        drawings = []
        for board, suffix in zip(found, suffixes, strict=True):
            texts[f"leaderboard{suffix}.csv"] = comma_separated(board)
            figures = {"curves": curves(board)}
            studied = study_picture(board, picture) if picture else None
            if studied is not None:
                figures = {"study": studied} | figures
            drawn = {name: out / f"{name}{suffix}.png" for name in figures}
            for name, path in drawn.items():
                save(path, figures[name])
            drawings.append(drawn)
        texts["report.html"] = page(found, drawings)
        for name, text in texts.items():
            with atomic(out / name) as partial:
                partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"the report cannot be written: {one_line(error)}") from error
    show(found, out)


def page(found: Sequence[Board], drawings: Sequence[Mapping[str, Path]]) -> str:
    """One page without other files or scripts: it contains its pictures, and every text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("gan_cli.leaderboard", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    shown = [
        {
            "tables": text_tables(board),
            "notes": [note for note in (*notes(board), left_out(board)) if note],
            "pictures": {name: data_uri(path.read_bytes()) for name, path in drawn.items()},
            "grids": grids(board),
            "settings": settings_table(board),
            "runs": runs_table(board),
        }
        for board, drawn in zip(found, drawings, strict=True)
    ]
    return environment.get_template("page.html").render(
        boards=shown, separation=separation(found), version=__version__, rows_shown=ROWS_SHOWN
    )


def settings_table(board: Board) -> TextTable:
    """The config's values that differ between the methods, a row for each method."""
    differing = board.differing()
    keys = list(differing)[:MOST_SETTINGS]
    title = "What differs between the methods"
    if len(differing) > len(keys):
        title += f": the first {len(keys)} of {len(differing):,} keys"
    rows = (
        [
            [row.method, *("" if value is None else printable(value).removeprefix("gan_cli.") for value in values)]
            for row, values in zip(board.rows, zip(*(differing[key] for key in keys), strict=True), strict=True)
        ]
        if keys
        else []
    )
    return TextTable(title, ["method", *keys], rows)


def runs_table(board: Board) -> TextTable:
    """Every run, its state, and what is to be known of it."""
    rows = []
    for result in (result for row in board.rows for result in row.results):
        warned = [f"{len(result.warnings)} warning{'s' * (len(result.warnings) != 1)}"] * bool(result.warnings)
        why = "; ".join(filter(None, [result.error, *warned, *result.warnings[:MOST_WARNINGS]]))
        rows.append([result.name, result.state, str(result.seed), str(result.summary.get("step", "")), why])
    return TextTable("Runs", ["run", "state", "seed", "step", "why"], rows)


def grids(board: Board) -> tuple[list[tuple[str, str]], str]:
    """Real images, then images of each of the first methods from the same latents at its last step.

    Also a sentence about the methods whose images are left out; empty if there are none.
    """
    pictures: list[tuple[str, str]] = []
    num_methods = num_bytes = 0
    for row in board.rows:
        if num_methods == MOST_GRIDS or num_bytes > MOST_PICTURE_BYTES:
            left = f"Images are shown of the first {num_methods} methods of {len(board.rows):,}; "
            return pictures, left + "those of the others are in the runs' folders, in samples/."
        last = last_grid(row)
        small = thumbnail(last[1]) if last is not None else None
        if last is None or small is None:
            continue
        result, path = last
        real = result.run.samples / "real.png"
        if not pictures and os.path.isfile(real):
            pictures += [("real", shown) for shown in [thumbnail(real)] if shown is not None]
        pictures.append((f"{row.method}, seed {result.seed}, step {step_of(path)}", small))
        num_methods, num_bytes = num_methods + 1, num_bytes + len(small)
    return pictures, ""


def thumbnail(path: Path) -> str | None:
    """The picture, made small; None, with a warning, for a file that is none."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                image.thumbnail((THUMBNAIL, THUMBNAIL))
                small = image.convert("L" if image.mode == "L" else "RGB")
    except Exception as error:  # of a damaged file, which Pillow answers with errors of many kinds
        warnings.warn(f"left out: {printable(path)} is not a picture: {one_line(error)}", stacklevel=1)
        return None
    file = io.BytesIO()
    small.info.clear()  # nothing but its pixels
    small.save(file, format="PNG")
    return data_uri(file.getvalue())


def data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def show(found: Sequence[Board], out: Path) -> None:
    """The first table of each board on stdout."""
    printer = console()
    if len(found) > 1:
        printer.print(Text(separation(found)), soft_wrap=True)
    for board in found:
        text = text_tables(board)[0]
        table = Table(title=text.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        narrow = TextTable(text.title, text.header, [[row[0][:WIDEST_NAME], *row[1:]] for row in text.rows])
        shown, left = fitting(narrow, printer.width, lambda widths: sum(widths) + 3 * len(widths) - 1)
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
        printer.print(table)
        if len(text.rows) > ROWS_SHOWN:
            printer.print(Text(f"and {len(text.rows) - ROWS_SHOWN:,} more methods, which the files have"))
        if left:
            printer.print(Text(left), soft_wrap=True)
        for note in notes(board):
            printer.print(Text(note), soft_wrap=True)
    written = f"written: {printable(out / 'leaderboard.md')}, .csv, .tex, {printable(out / 'report.html')}"
    printer.print(Text(written), soft_wrap=True)
