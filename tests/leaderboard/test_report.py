"""report.html in a real browser, and what is written beside it."""

import csv
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from gan_cli.errors import UserError
from gan_cli.leaderboard.report import write_report

from .folders import PROTOCOL, make_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
WATCH = """<script>
  window.problems = [];
  window.onerror = message => window.problems.push(message);
  window.addEventListener('error', event => window.problems.push(event.target.src || event.message), true);
</script>"""
TELL = """<script>
  window.addEventListener('load', () => {
    const pictures = [...document.images];
    const seen = document.createElement('pre');
    seen.id = 'seen';
    seen.textContent = JSON.stringify({
      pictures: pictures.length, shown: pictures.filter(one => one.complete && one.naturalWidth > 20).length,
      problems: window.problems.length, scripts: document.scripts.length, title: document.title,
      asked: performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:')).length,
    });
    document.body.append(seen);
  });
</script>"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    for seed in range(2):
        make_run(folder, "objective=hinge", seed=seed, fid=1.0 + seed)
        make_run(folder, "objective=stdgan", seed=seed, fid=2.0, spelt=[f"objective={HOSTILE}"])
    make_run(folder, "objective=lsgan", status="diverged")
    return folder


def test_everything_is_written_and_drawn(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    write_report([runs], out, None)
    assert {path.name for path in out.iterdir()} == {
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.tex",
        "curves.png",
        "report.html",
    }
    with (out / "leaderboard.csv").open() as file:
        methods = [row["method"] for row in csv.DictReader(file)]
    assert methods == ["hinge", HOSTILE, "lsgan"]
    with Image.open(out / "curves.png") as picture:
        darkest, brightest = picture.convert("L").getextrema()
        assert darkest < brightest
    printed = capsys.readouterr().out
    assert "hinge" in printed
    assert "inception_score_digits ↑" in printed
    assert "report.html" in printed


def test_a_hostile_value_is_text_wherever_it_is_written(runs: Path, tmp_path: Path) -> None:
    write_report([runs], tmp_path / "out", None)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!data:image/png;base64,)", page)
    written = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "<script" not in written
    assert "<img" not in written


def test_two_protocols_are_two_tables_and_two_files(runs: Path, tmp_path: Path) -> None:
    make_run(runs, "objective=wgan", protocol=PROTOCOL | {"num_fake": 7})
    write_report([runs], tmp_path / "out", None)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"leaderboard.csv", "leaderboard-2.csv", "curves.png", "curves-2.png"} <= names
    assert "wgan" not in (tmp_path / "out" / "leaderboard.csv").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "their scores do not compare" in page
    assert page.index("Protocol 1") < page.index("Protocol 2")


def test_a_folder_that_cannot_be_written_is_refused(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="the report cannot be written"):
        write_report([runs], tmp_path / "taken" / "out", None)


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_a_browser_shows_every_picture_and_no_error(runs: Path, tmp_path: Path) -> None:
    write_report([runs], tmp_path / "out", None)
    page = (tmp_path / "out" / "report.html").read_text()
    watched = tmp_path / "watched.html"
    watched.write_text(page.replace("<head>", f"<head>{WATCH}").replace("</body>", f"{TELL}</body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    offline = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    done = subprocess.run(
        [str(CHROMIUM), *flags, *offline, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", watched.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    seen = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)
    assert seen is not None, done.stdout[-2000:]
    assert '"pictures":5,"shown":5' in seen[1]  # real, three methods, curves
    assert '"problems":0,"scripts":2,"title":"Leaderboard","asked":0' in seen[1]
