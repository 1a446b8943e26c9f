"""report.html: one page that holds its pictures, curves and scripts; it loads nothing, and every text is escaped."""

import base64
import hashlib
import io
import json
import math
import os
import re
import stat
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from PIL import Image

from gan_cli import __version__
from gan_cli.errors import one_line
from gan_cli.leaderboard.boards import Board
from gan_cli.leaderboard.curves import LOG_RATIO, drawn, left_out, panels
from gan_cli.leaderboard.figures import last_grid, step_of
from gan_cli.leaderboard.notes import headings, notes, separation
from gan_cli.leaderboard.results import Result
from gan_cli.leaderboard.styles import COLOURS, ON_BLACK, Style, outline, style
from gan_cli.leaderboard.tables import TextTable, all_hardware, number, shown, text_tables
from gan_cli.text import printable

HERE = Path(__file__).parent
LIBRARY = HERE / "uplot"
THUMBNAIL = 640  # pixels; with images of 1,024 pixels the page would have a gigabyte
MOST_GRIDS = 24  # methods whose images the page shows
MOST_PICTURE_BYTES = 12_000_000  # of their images
ROWS_SHOWN = 100  # of a table at once
MOST_SETTINGS = 100  # columns
MOST_WARNINGS = 3  # of a run, in words
MOST_OVERVIEW = 40  # methods in the picture at the top
MOST_FACTS = 12  # of one kind, in the page's head
MOST_DECADES = 1e12  # of a logarithmic line with ticks between its ends
MARGIN = 3.0  # percent of the picture at the top, on each side


class Drawn(NamedTuple):
    """A method with its look, and the corners of its marker in a key."""

    method: str
    style: Style
    outline: str


def page(found: Sequence[Board], drawings: Sequence[Mapping[str, Path]], out: Path, about: Mapping[str, str]) -> str:
    """The page for the folder `out`; `about` says what it is of, such as its name and its command."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("gan_cli.leaderboard", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    looks = "".join((LIBRARY / "uPlot.min.css").read_text() + colours() + (HERE / "page.css").read_text())
    library = (LIBRARY / "uPlot.iife.min.js").read_text()
    script = (HERE / "page.js").read_text()
    shown = [
        {
            "heading": heading,
            "tables": text_tables(board),
            "first": 2 if board.differences else 1,  # tables at the top: the scores, and what the seeds tell of them
            "overview": overview(board),
            "notes": [note for note in (*notes(board), left_out(board)) if note],
            "pictures": {name: data_uri(path.read_bytes()) for name, path in paths.items()},
            "methods": keys(board),
            "curves": Markup(curves_data(board)),
            "grids": grids(board),
            "settings": settings_table(board),
            "runs": runs_table(board, out),
        }
        for heading, board, paths in zip(headings(found), found, drawings, strict=True)
    ]
    return environment.get_template("page.html").render(
        boards=shown,
        separation=separation(found),
        about={"name": about["name"], "version": __version__, "facts": facts(found, about)},
        rows_shown=ROWS_SHOWN,
        policy=policy(looks, library, script),
        style=Markup(looks),
        chart_library=Markup(library),
        script=Markup(script),
        licence=(LIBRARY / "LICENSE").read_text(),
    )


def policy(looks: str, *scripts: str) -> str:
    """Nothing is loaded, and only these styles and scripts work, whatever a text in the page pretends to be."""
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src {digest(looks)}",
            f"script-src {' '.join(map(digest, scripts))}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def colours() -> str:
    """The methods' colours, in the light and in the dark."""
    light = "".join(f"--c{number}:{colour};" for number, colour in enumerate(COLOURS))
    dark = "".join(f"--c{n}:{ON_BLACK[colour]};" for n, colour in enumerate(COLOURS) if colour in ON_BLACK)
    classes = "".join(f".c{number}{{--c:var(--c{number})}}" for number in range(len(COLOURS)))
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{classes}"


def minutes(time: str) -> str:
    """An ISO time in UTC as the page writes it, to the minute."""
    return f"{time[:10]} {time[11:16]} UTC" if re.fullmatch(r"[-\d]{10}T[:\d]{8}Z", time) else time


def facts(found: Sequence[Board], about: Mapping[str, str]) -> dict[str, str]:
    """The command and its time, and the time, hardware and versions of the runs, as far as they are known."""
    results = [result for board in found for row in board.rows for result in row.results]
    versions: dict[str, dict[str, None]] = {}
    for result in results:
        for name, version in result.summary.get("versions", {}).items():
            versions.setdefault(name, {})[version] = None
    began, ended = (sorted(filter(None, (one.summary.get(key) for one in results))) for key in ("started", "ended"))
    machines = dict.fromkeys(machine for board in found for machine in all_hardware(board))
    said = {
        **({"claim": about["claim"]} if "claim" in about else {}),
        "command": about["command"],
        "written": about["written"],
        "runs": f"{len({result.run.path for result in results}):,}",
        "trained": " to ".join(dict.fromkeys(map(minutes, [*began[:1], *ended[-1:]]))),
        "hardware": "; ".join(list(machines)[:MOST_FACTS]),
        "versions": ", ".join(f"{name} {' / '.join(ones)}" for name, ones in list(versions.items())[:MOST_FACTS]),
    }
    return {name: value for name, value in said.items() if value}


def overview(board: Board) -> dict[str, Any] | None:
    """The last score of every seed, their mean and interval, and real against real, as percent of a line's width."""
    leading = board.leading
    rows = [row for row in board.rows[:MOST_OVERVIEW] if leading is not None and row.last(leading) is not None]
    if leading is None or not rows:
        return None
    scores = {row.method: row.by_seed(leading) for row in rows}
    spreads = [spread for row in rows if (spread := row.last(leading)) is not None]
    floor = board.floor
    values = [*(value for one in scores.values() for value in one.values()), *([] if floor is None else [floor])]
    logarithmic = min(values) > 0 and max(values) > LOG_RATIO * min(values)
    ends = [spread.mean + sign * (spread.std or 0.0) for spread in spreads for sign in (-1, 1)]
    axis = Axis([*values, *(end for end in ends if end > min(values) / 2 or not logarithmic)], logarithmic)
    better = {"lower": ", lower is better", "higher": ", higher is better"}.get(board.directions.get(leading, ""), "")
    of = "" if len(rows) == len(board.rows) else f", {len(rows)} of {len(board.rows):,} methods"
    places = {row.method: place for place, row in enumerate(drawn(board))}
    return {
        "title": f"{leading} at the last step{better}{of}",
        "metric": leading + (", logarithmic" if logarithmic else ""),
        "floor": None if floor is None else axis.percent(floor),
        "ticks": [(number(tick), axis.percent(tick)) for tick in axis.ticks()],
        "rows": [
            {
                "method": row.method,
                "style": style(places.get(row.method, place)),
                "score": shown(spread),
                "mean": axis.percent(spread.mean),
                "interval": None
                if spread.std is None
                else (axis.percent(spread.mean - spread.std), axis.percent(spread.mean + spread.std)),
                "points": [
                    (f"seed {seed}: {number(value)}", axis.percent(value)) for seed, value in scores[row.method].items()
                ],
            }
            for place, (row, spread) in enumerate(zip(rows, spreads, strict=True))
        ],
    }


class Axis:
    """Positions of values on a line, as percent of its width."""

    def __init__(self, values: Sequence[float], logarithmic: bool) -> None:
        self.logarithmic = logarithmic
        self.low, self.high = min(values), max(values)
        if self.low == self.high:
            self.low, self.high = self.low - 0.5 * (abs(self.low) or 1), self.high + 0.5 * (abs(self.high) or 1)

    def percent(self, value: float) -> float:
        """What lies outside, such as the lower end of an interval that has no logarithm, is at the end of the line."""
        value = min(max(value, self.low), self.high)
        low, at, high = (math.log(one) if self.logarithmic else one for one in (self.low, value, self.high))
        return round(MARGIN + (100 - 2 * MARGIN) * ((at - low) / (high - low) if high > low else 0.5), 2)

    def ticks(self) -> list[float]:
        """Round numbers; of numbers of very different size, only the ends."""
        from matplotlib.ticker import LogLocator, MaxNLocator

        if self.logarithmic and self.high / MOST_DECADES > self.low:
            return [self.low, self.high]
        locator = LogLocator(subs=(1.0, 3.0), numticks=8) if self.logarithmic else MaxNLocator(5)
        return [tick for tick in map(float, locator.tick_values(self.low, self.high)) if self.low <= tick <= self.high]


def keys(board: Board) -> list[Drawn]:
    """The methods that have curves, in their order."""
    return [
        Drawn(
            row.method,
            style(place),
            " ".join(f"{19 + 5 * x:.1f},{7 + 5 * y:.1f}" for x, y in outline(style(place).marker)),
        )
        for place, row in enumerate(drawn(board))
    ]


def curves_data(board: Board) -> str:
    """The curves as JSON that can stand in a script element: nothing in it ends the element or begins another."""
    rows = drawn(board)
    looks = [style(place) for place in range(len(rows))]
    data = {
        "names": [row.method for row in rows],
        "styles": [{"number": look.number, "dash": look.dash, "marker": outline(look.marker)} for look in looks],
        "panels": [
            {
                "title": panel.title,
                "xlabel": panel.xlabel,
                "scale": panel.scale,
                "curves": [
                    {
                        "place": curve.place,
                        **{name: [*map(brief, getattr(curve, name))] for name in ("x", "mean", "low", "high")},
                    }
                    for curve in panel.curves
                ],
            }
            for panel in panels(board)
            if panel.curves
        ],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def brief(value: float) -> float | int:
    """Five digits."""
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


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


def runs_table(board: Board, out: Path) -> TextTable:
    """Every run, its state, what is to be known of it, and the way to its folder."""
    rows, links = [], []
    for method, result in ((row.method, result) for row in board.rows for result in row.results):
        warned = [f"{len(result.warnings)} warning{'s' * (len(result.warnings) != 1)}"] * bool(result.warnings)
        why = "; ".join(filter(None, [result.error, *warned, *result.warnings[:MOST_WARNINGS]]))
        step = str(result.summary.get("step", ""))
        rows.append([result.name, method, result.state, str(result.seed), step, proved(result), why])
        links.append(link(result, out))
    return TextTable("Runs", ["run", "method", "state", "seed", "step", "verified", "why"], rows, links)


def proved(result: Result) -> str:
    """What gan-verify has computed again of the run as it is, when and where; empty if nothing."""
    verdict = result.verdict
    if verdict is None:
        return ""
    done, where = verdict["proved"], verdict["hardware"]["gpu"] or verdict["hardware"]["cpu"]
    return f"{done['replayed']:,} of {done['steps']:,} steps, {minutes(verdict['date'])}, {where}"


def link(result: Result, out: Path) -> str:
    """The run's folder, relative to the page; never an address of another kind, whatever the folder's name."""
    return "./" + quote(os.fsencode(os.path.relpath(result.run.path, out))) + "/"


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
