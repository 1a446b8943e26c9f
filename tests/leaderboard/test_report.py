"""report.html in a real browser, and what is written beside it."""

import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

from gan_cli.errors import UserError
from gan_cli.files import sha256
from gan_cli.leaderboard import page as page_module
from gan_cli.leaderboard.boards import boards
from gan_cli.leaderboard.report import place, report, study_drawing, write_report
from gan_cli.leaderboard.results import gather
from gan_cli.sweep.sweep_folder import SweepFolder

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
  window.addEventListener('load', () => setTimeout(() => {
    const at = (element, kind, x, y) => {
      const { left, top } = element.getBoundingClientRect();
      const place = { clientX: left + x, clientY: top + y, movementX: 9 };
      element.dispatchEvent(new MouseEvent(kind, { bubbles: true, button: 0, ...place }));
    };
    const [over, first] = [document.querySelector('.u-over'), document.querySelector('.curves')];
    const { clientWidth: width, clientHeight: height } = over;
    at(over, 'mousemove', 3, 3);
    const tips = [];
    for (let y = 0; y < height; y += 10) {
      at(over, 'mousemove', width / 2, y);
      tips.push(document.querySelector('.tip').textContent);
    }
    at(over, 'mousedown', width * 0.25, 9);
    at(over, 'mousemove', width * 0.75, 9);
    at(over, 'mouseup', width * 0.75, 9);
    const zoomed = [first.dataset.low, first.dataset.high].map(Number);
    first.querySelector('.whole').click();
    const whole = [first.dataset.low, first.dataset.high].map(Number);
    const [key] = first.querySelectorAll('.keys button');
    key.click();
    const head = document.querySelectorAll('.paged th')[2];
    const column = () => [...document.querySelectorAll('.paged tbody')[0].rows].map(row => row.cells[0].textContent);
    head.querySelector('button').click();
    const rising = column(), sorting = [head.getAttribute('aria-sort')];
    head.querySelector('button').click();
    const falling = column();
    sorting.push(head.getAttribute('aria-sort'));
    const filter = document.querySelector('.filter');
    filter.value = 'HINGE';
    filter.dispatchEvent(new Event('input'));
    const kept = [...document.querySelectorAll('.paged tbody')[0].rows].filter(row => !row.hidden).length;
    const acted = { tips: tips.filter(tip => tip), zoomed, whole, pressed: key.getAttribute('aria-pressed'), rising,
      falling, sorting, kept, canvases: document.querySelectorAll('canvas').length,
      drawing: document.querySelector('.curves img').hidden, wide: document.documentElement.scrollWidth > innerWidth };
    filter.value = '';
    filter.dispatchEvent(new Event('input'));
    document.querySelector('.curves img').hidden = false;
    const pictures = [...document.images];
    const seen = document.createElement('pre');
    seen.id = 'seen';
    seen.textContent = JSON.stringify({
      pictures: pictures.length, shown: pictures.filter(one => one.complete && one.naturalWidth > 20).length,
      problems: window.problems.length, scripts: document.scripts.length, title: document.title,
      asked: performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:')).length,
    });
    const done = document.createElement('pre');
    done.id = 'acted';
    done.textContent = JSON.stringify(acted);
    document.body.append(seen, done);
  }, 200));
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
        "ranks.png",
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


@pytest.mark.slow
def test_a_margin_and_pairs_are_as_given_or_as_the_sweep_says(runs: Path, tmp_path: Path) -> None:
    def said(margin: float | None, paired: bool | None) -> str:
        write_report([runs], tmp_path / "out", None, (), margin, paired)
        return (tmp_path / "out" / "leaderboard.md").read_text()

    first = said(None, None)
    assert "within 0.025 of hinge (a tenth of the real-against-real score)" in first
    assert "of relabelled runs" in first
    given = said(0.5, True)
    assert "within 0.5 of hinge (as given)" in given
    assert "of sign flips of pairs of one seed" in given
    SweepFolder(runs).add([], margin=0.7, paired=True, command=["gan-sweep"])
    assert "within 0.7 of hinge (as given)" in said(None, None)
    assert "of sign flips of pairs of one seed" in said(None, None)
    assert "of relabelled runs" in said(None, False)
    with pytest.raises(UserError, match="margin=0.0 must be above 0"):
        report(
            {
                "folders": [str(runs)],
                "baseline": None,
                "trust": [],
                "out": None,
                "margin": 0.0,
                "paired": None,
                "claims": None,
            }
        )


def test_a_hostile_value_is_text_wherever_it_is_written(runs: Path, tmp_path: Path) -> None:
    write_report([runs], tmp_path / "out", None)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;script&gt;" in page
    assert HOSTILE not in page
    assert re.findall(r"<script[^>]*>", page) == ['<script type="application/json">', "<script>", "<script>"]
    assert not re.search(r"(src|href)=\"(?!data:image/png;base64,|\./)", page)
    written = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "<script" not in written
    assert "<img" not in written


OWN_PICTURES = """
import os
from matplotlib.figure import Figure

def plain(board):
    figure = Figure()
    figure.subplots().set_title(board.leading)
    return figure

def number(board):
    return 3

def raises(board):
    return plain(board).no_such

def unreadable(board):
    figure = plain(board)
    figure.suptitle("$\\\\nothing$")
    return figure
"""


@pytest.fixture
def pictured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's package, which is not imported yet."""
    (tmp_path / "pictured.py").write_text(OWN_PICTURES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pictured", raising=False)


@pytest.mark.usefixtures("pictured")
def test_an_own_picture_is_drawn_if_its_package_is_trusted(runs: Path, tmp_path: Path) -> None:
    shutil.rmtree(runs / "run-1")
    SweepFolder(runs).add([], picture="pictured.plain", command=["gan-sweep", "study=<b>", "sweep_dir=a b"])
    with pytest.warns(UserWarning, match="is code: if pictured is a package that you know, trust=pictured allows it"):
        assert study_drawing("pictured.plain", ["pictures"])(boards(gather([runs]), None)[0]) is None
    assert "pictured" not in sys.modules
    write_report([runs], tmp_path / "out", None, ["pictured"])
    assert (tmp_path / "out" / "study.png").is_file()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The study's picture" in page
    assert "<dd>gan-sweep &#39;study=&lt;b&gt;&#39; &#39;sweep_dir=a b&#39;</dd>" in page


@pytest.mark.usefixtures("pictured")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("number", "the study's own picture: TypeError: number must return a matplotlib Figure, not int"),
        ("raises", "the study's own picture: AttributeError: 'Figure' object has no attribute 'no_such' ("),
        ("unreadable", "the study's own picture: ValueError"),
        ("os.getcwd", "picture: pictured.os.getcwd is not defined in pictured"),
        ("absent", "picture: pictured.absent cannot be imported: pictured has no absent"),
    ],
)
def test_an_own_picture_that_fails_costs_no_table(name: str, told: str, tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "objective=hinge")
    (board,) = boards(gather([tmp_path / "runs"]), None)
    with pytest.warns(UserWarning, match=re.escape(f"left out: {told}")) as caught:
        assert study_drawing(f"pictured.{name}", ["pictured"])(board) is None
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)


def test_the_page_of_a_sweep_made_before_shows_no_command(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "objective=hinge")
    SweepFolder(tmp_path / "runs").add([])
    write_report([tmp_path / "runs"], tmp_path / "out", None)
    assert "<dt>command</dt>" not in (tmp_path / "out" / "report.html").read_text()


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
    phone = ["--window-size=390,900", "--virtual-time-budget=3000"]
    address = (folder / "watched.html").as_uri()
    done = subprocess.run(
        [str(CHROMIUM), *flags, *offline, *phone, f"--user-data-dir={folder / 'profile'}", "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
@pytest.mark.slow
def test_a_browser_shows_every_picture_moves_the_curves_and_runs_no_other_script(runs: Path, tmp_path: Path) -> None:
    write_report([runs], tmp_path / "out", None)
    page = (tmp_path / "out" / "report.html").read_text()
    (policy,) = re.findall(r"<meta http-equiv=.*>\n", page)  # it blocks the scripts of this test, too
    watched = page.replace(policy, "").replace("<head>", f"<head>{WATCH}").replace("</body>", f"{TELL}</body>")
    dump = dumped(watched, tmp_path)
    seen = re.search(r'<pre id="seen">(.*?)</pre>', dump)
    found = re.search(r'<pre id="acted">(.*?)</pre>', dump)
    assert seen is not None
    assert found is not None
    acted = json.loads(html.unescape(found[1]))
    assert "hinge, step 20: 3 (2 to 4)" in acted["tips"]
    assert acted["zoomed"] == pytest.approx([0.25, 0.75], abs=0.02)
    assert acted["whole"] == [0, 1]
    assert acted["pressed"] == "false"
    assert acted["rising"] == ["hinge", HOSTILE, "lsgan"]
    assert acted["falling"] == [HOSTILE, "hinge", "lsgan"]  # what has no score stays last
    assert acted["sorting"] == ["ascending", "descending"]
    assert (acted["kept"], acted["canvases"], acted["drawing"], acted["wide"]) == (1, 6, True, False)
    assert '"pictures":6,"shown":6' in seen[1]  # real, three methods, ranks, curves
    assert '"problems":0,"scripts":5,"title":"runs: leaderboard","asked":0' in seen[1]
    attacked = dumped(page.replace("</body>", f"{HOSTILE}</body>"), tmp_path)
    assert "<title>runs: leaderboard</title>" in attacked
    assert HOSTILE[:8] in attacked
    assert 'class="u-over"' in attacked  # the policy lets the page's own scripts and styles work


def test_the_page_says_what_it_is_of_and_leads_to_the_runs(runs: Path, tmp_path: Path) -> None:
    summary = json.loads((runs / "run-0" / "summary.json").read_text())
    summary |= {"versions": {"torch": "2.<b>"}, "hardware": {"cpu": "A <i>", "gpu": None, "threads": 2}}
    summary |= {"started": "2026-11-24T10:00:00+00:00", "ended": "2026-11-24T11:30:00+00:00"}
    (runs / "run-0" / "summary.json").write_text(json.dumps(summary))
    odd = "javascript:'\\\"><script>"
    (runs / "run-1").rename(runs / odd)
    write_report([runs], tmp_path / "out", "hinge")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h1>runs</h1>" in page
    assert f"gan-report {runs} out={tmp_path / 'out'} baseline=hinge" in page
    assert "torch 2.&lt;b&gt;" in page
    assert "A &lt;i&gt;, 2 threads" in page
    assert "<dd>2026-11-24T10:00:00+00:00 to 2026-11-24T11:30:00+00:00</dd>" in page
    assert re.search(r"<dt>written</dt><dd>20\d\d-\d\d-\d\d \d\d:\d\d UTC</dd>", page)
    links = re.findall(r'href="([^"]*)"', page)
    assert {(tmp_path / "out" / unquote(link)).resolve() for link in links} == set(runs.iterdir())
    assert all(link.startswith("./../runs/") and ":" not in link for link in links)


def test_the_picture_at_the_top_has_every_seed_the_interval_and_the_floor(runs: Path) -> None:
    (board,) = boards(gather([runs]), None)
    shown = page_module.overview(board)
    assert shown is not None
    hinge, other = shown["rows"]  # the third has no score
    assert hinge["method"] == "hinge"
    assert hinge["score"] == "1.50 ± 0.71"
    low, high = hinge["interval"]
    (first, left), (second, right) = hinge["points"]
    assert (first, second) == ("seed 0: 1", "seed 1: 2")
    assert shown["floor"] == page_module.MARGIN < low < left < hinge["mean"] < right < high
    assert (left + right) / 2 == pytest.approx(hinge["mean"], abs=0.01)
    assert other["interval"] == (right, right)
    assert max(position for _, position in shown["ticks"]) <= 100 - page_module.MARGIN


def test_a_wide_span_is_drawn_on_a_logarithmic_line(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", fid=1.0)
    make_run(tmp_path, "objective=stdgan", seed=0, fid=100.0)
    make_run(tmp_path, "objective=stdgan", seed=1, fid=900.0)
    (board,) = boards(gather([tmp_path]), None)
    shown = page_module.overview(board)
    assert shown is not None
    assert shown["metric"] == "fid_digits, logarithmic"
    assert [label for label, _ in shown["ticks"]] == ["0.3", "1", "3", "10", "30", "100", "300", "1,000"]
    assert all(0 <= end <= 100 for end in shown["rows"][1]["interval"])


@pytest.mark.parametrize(
    "values", [(1e100, 1e100, 1.0), (5.0, 5.0, 5.0), (1e-300, 1e99, 3.0), (-1e100, 1e100, 0.0), (0.0, 0.0, 0.0)]
)
def test_every_number_has_a_place_on_the_line(values: tuple[float, ...]) -> None:
    for logarithmic in (False, True)[: 1 + (min(values) > 0)]:
        axis = page_module.Axis(values, logarithmic)
        assert all(0 <= axis.percent(value) <= 100 for value in (*values, -1e101, 1e101))
        assert all(0 <= axis.percent(tick) <= 100 for tick in axis.ticks())


def test_curves_of_any_name_stay_inside_their_element(tmp_path: Path) -> None:
    make_run(tmp_path, spelt=["objective=</script><!--<script>&"])
    make_run(tmp_path, "objective=hinge")
    (board,) = boards(gather([tmp_path]), None)
    text = page_module.curves_data(board)
    assert not set("<>&") & set(text)
    assert json.loads(text)["names"] == [row.method for row in board.rows]


def test_the_charting_library_is_the_one_that_is_noted() -> None:
    noted = re.findall(r"`([\w.]+)` \| `([0-9a-f]{64})`", (page_module.LIBRARY / "README.md").read_text())
    assert len(noted) == 3
    for name, expected in noted:
        assert sha256(page_module.LIBRARY / name) == expected
    assert "MIT" in (page_module.LIBRARY / "LICENSE").read_text()


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
    assert page.count("<td>batch_size=1119</td>") == 6  # in each of the tables of methods, and of runs
    assert page.count("<summary>Rows 101 to 121</summary>") == 6
    assert "<details open" not in page
    with (tmp_path / "out" / "leaderboard.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 121
    for name in ("leaderboard.md", "leaderboard.tex"):
        text = (tmp_path / "out" / name).read_text()
        assert text.count("=1119 ") == 4


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


def test_tables_go_to_outputs_unless_a_sweep_has_its_own(runs: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "outputs": str(tmp_path / "outputs"),
        "baseline": None,
        "trust": [],
        "claims": None,
        "margin": None,
        "paired": None,
    }
    report(options | {"folders": [str(runs)], "out": None})
    (written,) = (tmp_path / "outputs" / "reports").glob("*/*/leaderboard.csv")
    assert not (runs / "leaderboard.csv").exists()
    assert place([runs], options | {"out": "mine"}) == Path("mine")
    (runs / "sweep.json").write_text("{}")
    assert place([runs], options | {"out": None}) == runs
    assert place([runs, tmp_path], options | {"out": None}) != runs


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
