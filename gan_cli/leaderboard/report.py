"""leaderboard.csv, .md, .tex, curves.png and report.html, from the files of runs."""

import base64
import io
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from gan_cli import __version__
from gan_cli.errors import UserError
from gan_cli.files import atomic
from gan_cli.leaderboard.boards import Board, boards
from gan_cli.leaderboard.figures import curves, last_grid, study_picture
from gan_cli.leaderboard.results import gather, sweep_facts
from gan_cli.leaderboard.tables import comma_separated, latex, markdown, notes, separation, text_tables
from gan_cli.runs.pictures import save_figure
from gan_cli.runs.summary import console

NUM_SHOWN = 5  # columns that fit a terminal; the files have all of them
THUMBNAIL = 640  # pixels; with images of 1,024 pixels the page would have a gigabyte


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
    found = boards(gather(folders), baseline or sweep_facts(folders, "baseline"))
    suffixes = ["", *(f"-{position}" for position in range(2, len(found) + 1))]
    picture = sweep_facts(folders, "picture")
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
                save_figure(path, figures[name])
            drawings.append(drawn)
        texts["report.html"] = page(found, drawings)
        for name, text in texts.items():
            with atomic(out / name) as partial:
                partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"the report cannot be written: {error}") from error
    show(found, out)


def page(found: Sequence[Board], drawings: Sequence[Mapping[str, Path]]) -> str:
    """One page without other files: it contains every picture, and every text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("gan_cli.leaderboard", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    shown = [
        {
            "tables": text_tables(board),
            "notes": notes(board),
            "pictures": {name: data_uri(path.read_bytes()) for name, path in drawn.items()},
            "grids": grids(board),
            "differing": board.differing(),
            "methods": [row.method for row in board.rows],
            "runs": [result for row in board.rows for result in row.results],
        }
        for board, drawn in zip(found, drawings, strict=True)
    ]
    return environment.get_template("page.html").render(boards=shown, separation=separation(found), version=__version__)


def grids(board: Board) -> list[tuple[str, str]]:
    """Real images, then each method's images from the same latents at its last step."""
    pictures: list[tuple[str, Path]] = []
    for row in board.rows:
        result = last_grid(row)
        if result is not None:
            last = max(result.run.samples.glob("[0-9]*.png"))
            pictures.append((f"{row.method}, seed {result.seed}, step {int(last.stem)}", last))
            if len(pictures) == 1 and (result.run.samples / "real.png").is_file():
                pictures.insert(0, ("real", result.run.samples / "real.png"))
    return [(title, thumbnail(path)) for title, path in pictures]


def thumbnail(path: Path) -> str:
    with Image.open(path, formats=["PNG"]) as image:
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        small = io.BytesIO()
        image.save(small, format="PNG")
    return data_uri(small.getvalue())


def data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def show(found: Sequence[Board], out: Path) -> None:
    """The first table of each board on stdout."""
    printer = console()
    if not printer.is_terminal:
        printer.width = 160
    if len(found) > 1:
        printer.print(Text(separation(found)))
    for board in found:
        text = text_tables(board)[0]
        table = Table(title=text.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        first = NUM_SHOWN + len(board.published)
        headlines = [name.removesuffix("_mean") for name in board.headlines]
        shown = [n for n, name in enumerate(text.header) if n < first or name.split()[0] in headlines]
        for number in shown:
            table.add_column(Text(text.header[number]), justify="right" if number else "left", overflow="fold")
        for row in text.rows:
            table.add_row(*(Text(row[number]) for number in shown))
        printer.print(table)
        for note in notes(board):
            printer.print(Text(note), soft_wrap=True)
    printer.print(Text(f"written: {out / 'leaderboard.md'}, .csv, .tex, {out / 'report.html'}"), soft_wrap=True)
