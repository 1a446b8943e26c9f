"""report.html in a real browser, and what is written beside it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from gan_cli.errors import UserError
from gan_cli.leaderboard import page as page_module
from gan_cli.leaderboard.boards import boards
from gan_cli.leaderboard.report import write_report
from gan_cli.leaderboard.results import gather

from .folders import PROTOCOL, make_run

ROOT = Path(__file__).parents[2]
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


def dumped(page: str, folder: Path) -> str:
    """The page as a browser leaves it."""
    (folder / "watched.html").write_text(page)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    offline = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    address = (folder / "watched.html").as_uri()
    done = subprocess.run(
        [str(CHROMIUM), *flags, *offline, f"--user-data-dir={folder / 'profile'}", "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_a_browser_shows_every_picture_and_runs_no_script(runs: Path, tmp_path: Path) -> None:
    write_report([runs], tmp_path / "out", None)
    page = (tmp_path / "out" / "report.html").read_text()
    (policy,) = re.findall(r"<meta http-equiv=.*>\n", page)  # it blocks our own scripts, too
    watched = page.replace(policy, "").replace("<head>", f"<head>{WATCH}").replace("</body>", f"{TELL}</body>")
    seen = re.search(r'<pre id="seen">(.*?)</pre>', dumped(watched, tmp_path))
    assert seen is not None
    assert '"pictures":5,"shown":5' in seen[1]  # real, three methods, curves
    assert '"problems":0,"scripts":2,"title":"Leaderboard","asked":0' in seen[1]
    attacked = dumped(page.replace("</body>", f"{HOSTILE}</body>"), tmp_path)
    assert "<title>Leaderboard</title>" in attacked
    assert HOSTILE[:8] in attacked


@pytest.mark.slow
def test_a_page_of_many_methods_stays_small_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    """Every method is in the tables, 100 rows at a time; pictures are of the first ones."""
    run = make_run(tmp_path / "runs", "objective=hinge")
    noise = Image.effect_noise((100, 100), 100)
    summary = json.loads((run / "summary.json").read_text())
    for number in range(120):
        other = shutil.copytree(run, tmp_path / "runs" / f"other-{number}")
        summary["config"]["batch_size"] = 1000 + number
        summary["overrides"] = [f"batch_size={1000 + number}"]
        summary["metrics"]["last"]["fid_digits"] = 2.0 + number
        (other / "summary.json").write_text(json.dumps(summary))
        if number < 30:
            noise.save(other / "samples" / "00000030.png")
    write_report([tmp_path / "runs"], tmp_path / "out", None)
    page = (tmp_path / "out" / "report.html").read_text()
    assert len(page) < 2_000_000
    assert page.count("<img") == 1 + 24 + 1  # curves, methods, real
    assert "Images are shown of the first" in page
    assert "Curves are drawn of 20 of 121 methods" in page
    assert page.count("<td>batch_size=1119</td>") == 4  # in each of the tables of methods
    assert page.count("<summary>Rows 101 to 121</summary>") == 5
    assert "<details open" not in page
    with (tmp_path / "out" / "leaderboard.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 121
    for name in ("leaderboard.md", "leaderboard.tex"):
        text = (tmp_path / "out" / name).read_text()
        assert text.count("=1119 ") == 3


def test_large_pictures_have_a_bound_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_PICTURE_BYTES", 50_000)
    for number in range(6):
        run = make_run(tmp_path, f"batch_size={8 + number}")
        Image.effect_noise((128, 128), 100).save(run / "samples" / "00000030.png")
    (board,) = boards(gather([tmp_path]), None)
    pictures, omitted = page_module.grids(board)
    assert [title.split(",")[0] for title, _ in pictures] == ["real", "batch_size=8", "batch_size=9", "batch_size=10"]
    assert omitted.startswith("Images are shown of the first 3 methods of 6;")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("summary.json", b'{"status": ', "summary.json: Invalid JSON"),
        ("summary.json", b"[]", "summary.json: Input should be"),
        ("samples/00000030.png", b"%!PS-Adobe-3.0 EPSF-3.0", "00000030.png is not a picture"),
        ("metrics.jsonl", b'{"step": -1}\n{"step": 2}\n', "metrics.jsonl: line 1 is not a record"),
    ],
)
def test_a_damaged_file_is_named_once_and_ends_no_report(
    file: str, content: bytes, told: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    make_run(tmp_path / "runs", "objective=hinge")
    damaged = make_run(tmp_path / "runs", "objective=stdgan") / file
    damaged.write_bytes(content)
    (damaged.parent / "00000abc.png").touch()
    write_report([tmp_path / "runs"], tmp_path / "out", None)
    (one,) = recwarn.list
    assert told in str(one.message)
    assert damaged.read_bytes() == content
    with (tmp_path / "out" / "leaderboard.csv").open() as table:
        methods = {row["method"] for row in csv.DictReader(table)}
    assert methods == ({"hinge"} if file == "summary.json" else {"hinge", "stdgan"})


def test_half_a_record_of_a_running_job_is_no_damage(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "objective=hinge")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "met')
    write_report([tmp_path / "runs"], tmp_path / "out", None)


def test_collapsed_runs_have_no_score_and_warnings_are_shown(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "objective=hinge")
    run = make_run(tmp_path / "runs", "objective=stdgan", status="collapsed")
    summary = json.loads((run / "summary.json").read_text())
    summary["warnings"] = ["step 20: all images are <b>alike</b>", "step 25: the discriminator has won"]
    (run / "summary.json").write_text(json.dumps(summary))
    write_report([tmp_path / "runs"], tmp_path / "out", None)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "0 of 1 (1 collapsed)" in page
    assert "it collapsed; 2 warnings; step 20: all images are &lt;b&gt;alike&lt;/b&gt;; step 25: the disc" in page
    with (tmp_path / "out" / "leaderboard.csv").open() as file:
        rows = {row["method"]: (row["collapsed"], row["fid_digits_last_mean"]) for row in csv.DictReader(file)}
    assert rows == {"hinge": ("0", "1.0"), "stdgan": ("1", "")}


LONG = "a" * 240


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("taken", "the report cannot be written"),
        ("taken/out", "the report cannot be"),
        (LONG + LONG, "File name too long"),
    ],
)
def test_a_folder_that_cannot_be_is_refused_in_one_line(out: str, said: str, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=said) as refusal:
        write_report([runs], tmp_path / out, None)
    assert "\n" not in str(refusal.value)
    assert (tmp_path / "taken").read_text() == ""
    with pytest.raises(UserError, match="is not a folder"):
        write_report([tmp_path / out], tmp_path / "out", None)


def reported(*arguments: str, cwd: Path, before: Sequence[str] = (), **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*before, sys.executable, "-c", "from gan_cli.cli import report; report()", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        timeout=120,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.slow
def test_names_of_240_letters_and_an_odd_locale_are_no_obstacle(runs: Path, tmp_path: Path) -> None:
    runs.rename(tmp_path / LONG)
    (tmp_path / LONG / "run-0").rename(tmp_path / LONG / "\u00e9\u0301\u65e5")
    odd = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, out, err = reported(LONG, f"out={'b' * 240}", cwd=tmp_path, **odd)
    assert code == 0, err
    assert err == ""
    assert "hinge" in out
    assert r"\udcc3\udca9" in (tmp_path / ("b" * 240) / "report.html").read_text(encoding="utf-8")


WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root needs setpriv to lose rights")
def test_folders_without_the_rights_are_named_in_one_line(runs: Path, tmp_path: Path) -> None:
    before = WITHOUT_RIGHTS if os.geteuid() == 0 else []
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o500)
    code, out, err = reported("runs", "out=out", cwd=tmp_path, before=before)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "the report cannot be written" in err
    assert "Permission denied" in err
    (tmp_path / "out").chmod(0o700)
    (runs / "run-0").chmod(0o000)
    code, out, err = reported("runs", "out=out", cwd=tmp_path, before=before)
    (runs / "run-0").chmod(0o700)
    assert code == 0
    assert len(err.splitlines()) == 1
    assert "left out: [Errno 13] Permission denied: 'runs/run-0'" in err
