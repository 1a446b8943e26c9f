"""Damaged and hostile files of runs and sweeps: a report is written without them, or refused in one line."""

import contextlib
import io
import json
import math
import os
import random
import re
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from gan_cli.errors import UserError
from gan_cli.leaderboard.boards import boards
from gan_cli.leaderboard.notes import notes
from gan_cli.leaderboard.report import write_report
from gan_cli.leaderboard.results import gather
from gan_cli.leaderboard.text_formats import comma_separated, latex, markdown
from gan_cli.sweep.sweep_folder import Job, SweepFolder
from gan_cli.text import printable

from ..leaderboard.folders import make_run
from . import Fault
from .mutate import damaged, mutated

OWN_SCRIPTS = ('{"names":', "/*! https://github", '"use strict";')  # as the scripts of the page begin
TEXTS = [
    "",
    "a" * 1000,
    "\x1b[31mred\x07",
    "\u202egnp.exe",
    "$x^$",
    "$\\frac{$",
    "=1+1",
    "</style><script>document.title='taken'</script>",
    "\n\\input{/etc/passwd}\r\u2028\x85",
    "../../../etc",
    "/",
    "\u65e5\u672c\u00b1\U0001f600",
    "_",
    "[x](javascript:1)",
    "{{ 7 * 7 }}",
    "nan",
    "1e999",
]
NUMBERS = [0.5, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf]
TOO_MUCH = ("1" * 5000, "1e99999", "-0.0", "NaN", "[" * 1000 + "]" * 1000, '"\\ud800"', "{}")


@cache
def template() -> dict[str, bytes]:
    """The files of a sweep of two methods with two seeds and a study's picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sweep = SweepFolder(folder)
        jobs = []
        for number, objective in enumerate(("hinge", "stdgan", "hinge", "stdgan")):
            run = make_run(folder, f"objective={objective}", seed=number // 2, fid=1.0 + number)
            summary = json.loads((run / "summary.json").read_text())
            jobs.append(Job(run.name, summary["overrides"], summary["config"], {"fid": 2.0}, "a paper"))
        sweep.add(jobs, picture={"x": "objective", "lines": "seed", "title": "T"}, baseline=None)
        sweep.quote(jobs)
        sweep.ended("run-3", 1, "exit code 1: no luck")
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def lay(folder: Path) -> Path:
    runs = folder / "runs"
    for name, content in template().items():
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        (runs / name).write_bytes(content)
    return runs


def held(runs: Path, out: Path) -> None:
    """Asserts that the report is written, or refused in one line, and that no file of the runs has changed."""
    before = state(runs)
    with contextlib.redirect_stdout(io.StringIO()) as printed, told_in_one_line():
        write_report([runs], out, None)
    assert state(runs) == before
    page = (out / "report.html").read_text(encoding="utf-8") if (out / "report.html").exists() else ""
    assert all(start.startswith(OWN_SCRIPTS) for start in re.findall(r"<script[^>]*>(.{0,20})", page, re.DOTALL))
    assert all(letter.isprintable() or letter == "\n" for letter in printed.getvalue())


def held_in_text(runs: Path) -> None:
    """As `held`, without pictures and page, which take most of the time."""
    with told_in_one_line():
        found = boards(gather([runs]), None)
        for board in found:
            assert all(len(note.splitlines()) == 1 for note in notes(board))
            comma_separated(board)
        assert "<script" not in markdown(found)
        assert "\\input" not in latex(found)


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Asserts that what is told is UserError or our own warnings, none of numpy or matplotlib, in one line each."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            yield
        except UserError as refusal:
            warnings.warn(str(refusal), stacklevel=1)
    for one in told:
        assert one.category is UserWarning, one
        assert str(one.message) == printable(one.message, 2000), one


def state(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def with_other_json(content: bytes, rng: random.Random) -> bytes:
    """The JSON with other values, and sometimes with one that only text can hold."""
    text = json.dumps(mutated(json.loads(content), rng))
    if rng.random() < 0.1:
        start = rng.choice([place for place, letter in enumerate(text) if letter == ":"] or [0])
        end = min((place for letter in ",}" if (place := text.find(letter, start)) > 0), default=len(text))
        text = text[: start + 1] + rng.choice(TOO_MUCH) + text[end:]
    return text.encode()


def damage(file: Path, rng: random.Random) -> None:
    """Bytes or, of JSON, structure."""
    content = file.read_bytes()
    lines = content.splitlines(keepends=True) if file.suffix == ".jsonl" else [content]
    number = rng.randrange(len(lines)) if lines else 0
    is_json = file.suffix in (".json", ".jsonl") and rng.random() < 0.8
    with contextlib.suppress(ValueError, RecursionError, IndexError):  # it is damaged already
        lines[number] = with_other_json(lines[number], rng) + b"\n" if is_json else damaged(content, rng)
    file.write_bytes(b"".join(lines))


def any_file(runs: Path, rng: random.Random, pattern: str = "*") -> Path:
    return rng.choice(sorted(path for path in runs.rglob(pattern) if path.is_file()))


def in_text(folder: Path, rng: random.Random) -> None:
    runs = lay(folder)
    for _ in range(rng.choice((1, 1, 2, 4))):
        damage(any_file(runs, rng, rng.choice(("*.json", "*.jsonl"))), rng)
    held_in_text(runs)


def in_a_report(folder: Path, rng: random.Random) -> None:
    runs = lay(folder)
    for _ in range(rng.choice((1, 1, 2, 4))):
        damage(any_file(runs, rng), rng)
    held(runs, folder / "out")


def in_a_summary(folder: Path, rng: random.Random) -> None:
    """Valid, but with text and numbers of a stranger in the places that are shown."""
    runs = lay(folder)
    for file in sorted(runs.rglob("summary.json")):
        summary = json.loads(file.read_text())
        hostile = rng.choice(TEXTS)
        huge = rng.choice(NUMBERS)
        metrics = summary["metrics"]
        for scores in (
            metrics["last"],
            metrics["best"],
            metrics["floor"],
            metrics["trajectory"].setdefault("fid_digits_v2", {}),
        ):
            scores |= {hostile: huge, "fid_digits_v2": huge}
        metrics |= {"headlines": [hostile, "fid_digits_v2"], "leading": rng.choice([hostile, "fid_digits_v2"])}
        summary |= {"error": hostile, "warnings": [hostile] * 3, "protocol": {hostile: hostile}}
        summary["cost"] |= {f"{hostile}_updates": 3}
        machine = {"cpu": hostile, "gpu": hostile, "threads": 1}
        summary |= {"hardware": machine, "versions": {hostile: hostile}, "started": hostile, "ended": hostile}
        session = {"started": hostile, "step": 0, "steps": 30, "hardware": machine, "git": None}
        summary |= {"sessions": [session] * rng.randrange(3)}
        summary["config"] |= {hostile: {hostile: huge}, "model": hostile}
        summary["overrides"] = [f"objective={hostile}", f"{hostile}={hostile}", hostile]
        file.write_text(json.dumps(summary))
        records = file.parent / "metrics.jsonl"
        line = {"step": 25, "seconds": 2.5, "losses": {hostile: {hostile: huge}}, "metrics": {hostile: huge}}
        records.write_text(json.dumps(line) + "\n" + records.read_text())
    if rng.random() < 0.5:
        (runs / "sweep.json").unlink()
    held(runs, folder / "out")


def in_place_of_a_file(folder: Path, rng: random.Random) -> None:
    """A folder, a pipe, a link in a circle, a link to nothing or to a device, or nothing at all."""
    runs = lay(folder)
    file = any_file(runs, rng)
    file.unlink()
    put: list[Callable[[], Any]] = [
        lambda: file.mkdir(),
        lambda: os.mkfifo(file),
        lambda: file.symlink_to(file),
        lambda: file.symlink_to("absent"),
        lambda: file.symlink_to("/dev/zero"),
        lambda: (file.parent / "loop").symlink_to(runs),
        lambda: os.truncate(os.open(file, os.O_CREAT | os.O_WRONLY), 2**33),  # sparse
        lambda: None,
    ]
    rng.choice(put)()
    with contextlib.redirect_stdout(io.StringIO()), told_in_one_line():
        write_report([runs], folder / "out", None)


def in_pictures(folder: Path, rng: random.Random) -> None:
    """Files that are called as pictures are, and are none, or bombs."""
    runs = lay(folder)
    pictures = sorted(runs.rglob("*.png"))
    genuine = pictures[0].read_bytes()
    for picture in rng.sample(pictures, 3):
        bomb = (
            genuine[:16]
            + struct.pack(">II", *rng.choice([(2**31 - 1, 2**31 - 1), (50_000, 50_000), (0, 0)]))
            + genuine[24:]
        )
        eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"
        picture.write_bytes(rng.choice([b"", b"text", eps, bomb, genuine[:50], damaged(genuine, rng)]))
        for name in ("00000abc.png", "\u0663.png", "9" * 100 + ".png"):
            (picture.parent / name).write_bytes(b"")
    held(runs, folder / "out")


CASES = [
    Fault("text and JSON of a sweep damaged, tables made", in_text, times=5_000, quick=20),
    Fault("any file of a sweep damaged, report written", in_a_report, times=60, quick=1),
    Fault("hostile text and numbers in valid files", in_a_summary, times=60, quick=1),
    Fault("a folder, pipe, link or device in place of a file", in_place_of_a_file, times=60, quick=1),
    Fault("pictures that are none, or bombs", in_pictures, times=60, quick=1),
]
