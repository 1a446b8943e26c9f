"""What is kept of runs between reports: the same bytes, and nothing that is no longer so."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_cli.leaderboard import cache as cache_module
from gan_cli.leaderboard.boards import boards
from gan_cli.leaderboard.cache import Cache, cache_of, loaded, state_of
from gan_cli.leaderboard.curves import panels
from gan_cli.leaderboard.results import gather
from gan_cli.leaderboard.series import read_series
from gan_cli.leaderboard.text_formats import comma_separated, latex, markdown
from gan_cli.runs.formats import read_summary

from .folders import make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_run(folder, "objective=hinge", fid=1.5)
    make_run(folder, "objective=stdgan", fid=float("nan"))
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs, kept although they are few and have just been written."""
    monkeypatch.setattr(cache_module, "FEWEST", 1)
    monkeypatch.setattr(cache_module, "YOUNG", 0.0)
    for path in made.rglob("*.json*"):
        copy = tmp_path / "runs" / path.relative_to(made)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path / "runs"


def tables(runs: Path, cache: Cache | None = None) -> str:
    """Every table and every curve, as text."""
    found = boards(gather([runs], cache), None)
    text = markdown(found) + latex(found) + "".join(map(comma_separated, found)) + repr([*map(panels, found)])
    if cache is not None:
        cache.save()
    return text


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read of runs, as far as a test has come."""
    seen: list[str] = []

    def watched(name: str, reader: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *rest: Any) -> Any:
            seen.append(f"{path.name}/{name}" if name == "summary" else f"{path.parent.name}/{name}")
            return reader(path, *rest)

        return call

    monkeypatch.setattr(cache_module, "read_summary", watched("summary", read_summary))
    monkeypatch.setattr(cache_module, "read_series", watched("series", read_series))
    return seen


def change(run: Path) -> None:
    """Another score, in a file of the same size and inode."""
    file = run / "summary.json"
    text = file.read_text().replace('"fid_digits": 1.5', '"fid_digits": 7.5')
    assert text != file.read_text()
    file.write_text(text)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))


def test_tables_from_the_cache_have_the_same_bytes_and_only_a_changed_run_is_read(runs: Path, read: list[str]) -> None:
    without = tables(runs)
    assert tables(runs, cache_of([runs])) == without
    assert len(read) == 8
    read.clear()
    assert tables(runs, cache_of([runs])) == without
    assert read == []
    change(runs / "run-0")
    changed = tables(runs, cache_of([runs]))
    assert read == ["run-0/summary"]
    with (runs / "run-1" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 31, "metrics": {"fid_digits": 3.0}}) + "\n")
    read.clear()
    longer = tables(runs, cache_of([runs]))
    assert read == ["run-1/series"]
    assert (changed, longer) != (without, changed)
    assert longer == tables(runs)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"\x80\n",
        lambda content: content[:-20],
        lambda content: content.replace(b'"fid_digits":', b'"fid_digitS":'),
        lambda content: b"0.0.0" + content[content.index(b" ") :],
    ],
)
def test_a_damaged_or_foreign_cache_is_not_believed(damage: Callable[[bytes], bytes], runs: Path) -> None:
    without = tables(runs, cache_of([runs]))
    path = cache_of([runs]).path
    assert path is not None
    assert loaded(path)
    path.write_bytes(damage(path.read_bytes()))
    assert loaded(path) == {}
    assert tables(runs, cache_of([runs])) == without
    assert loaded(path)


def test_a_damaged_line_is_named_again(runs: Path) -> None:
    with (runs / "run-0" / "metrics.jsonl").open("a") as file:
        file.write("not a record\n")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"metrics\.jsonl: line 7 is not a record"):
            tables(runs, cache_of([runs]))


def test_a_file_that_has_just_been_written_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    file.write_text("{}")
    assert state_of(file, "") is None
    os.utime(file, (0, 0))
    assert state_of(file, "") is not None
    assert state_of(file, "") != state_of(file, "of another width")
    assert state_of(tmp_path / "absent", "") is None


@pytest.mark.slow
def test_a_report_imports_no_torch() -> None:
    code = "import sys, gan_cli.leaderboard.report, gan_cli.config.plain; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
