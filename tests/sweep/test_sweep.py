"""gan-sweep as a user meets it: what runs, what breaks, what is told, and what a second command does."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..conftest import TINY

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
QUICK = [*TINY, "steps=4", "evaluate_every=2", "checkpoint_every=2", "device=cpu"]
BREAKING = "_target_: tests.sweep.breaking.Breaking\nsaturating: false\nway: none\n"


def sweeping(*arguments: str, cwd: Path, name: str = "gan-sweep", **more: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | more
    return subprocess.Popen(
        [str(BIN / name), *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def swept(*arguments: str, cwd: Path, name: str = "gan-sweep") -> tuple[int, str, str]:
    process = sweeping(*arguments, cwd=cwd, name=name)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "leaderboard.csv").open() as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def only_sweep(cwd: Path) -> Path:
    (file,) = cwd.glob("outputs/sweeps/*/*/sweep.json")
    return file.parent


@pytest.mark.slow
def test_jobs_that_raise_exit_and_are_killed_harm_no_other(tmp_path: Path) -> None:
    (tmp_path / "mine" / "objective").mkdir(parents=True)
    (tmp_path / "mine" / "objective" / "breaking.yaml").write_text(BREAKING)
    (tmp_path / "broken").touch()
    command = ["--config-dir", "mine", "objective=breaking", "objective.way=none,raises,exits,killed", "seed=0", *QUICK]
    code, out, err = swept(*command, cwd=tmp_path)
    assert code == 1
    assert "FAILED  way-raises-seed-0" in err
    assert "RuntimeError: no luck" in err
    assert "exit code 3" in err
    assert "killed by SIGKILL" in err
    assert err.strip().splitlines()[-1].startswith("gan-sweep: 3 of 4 jobs did not complete")
    folder = only_sweep(tmp_path)
    states = {method: (row["completed"], row["failed"]) for method, row in rows(folder).items()}
    assert states == {
        "way=none": ("1", "0"),
        "way=raises": ("0", "1"),
        "way=exits": ("0", "1"),
        "way=killed": ("0", "1"),
    }
    assert "0 of 1 (1 failed)" in out
    finished = next(folder.glob("way-none-*/summary.json"))
    before = finished.stat().st_mtime_ns

    (tmp_path / "broken").unlink()
    code, out, err = swept(*command, cwd=tmp_path)
    assert code == 0, err
    assert "3 to run" in err
    assert finished.stat().st_mtime_ns == before
    assert only_sweep(tmp_path) == folder
    assert all(row["completed"] == "1" for row in rows(folder).values())

    code, _, err = swept(*command, cwd=tmp_path)
    assert code == 0
    assert "to run" not in err


@pytest.mark.slow
def test_another_seed_and_another_objective_join_the_table(tmp_path: Path) -> None:
    assert swept("objective=stdgan,hinge", "seed=0", *QUICK, cwd=tmp_path)[0] == 0
    code, _, err = swept("objective=hinge,lsgan", "seed=0,1", *QUICK, cwd=tmp_path)
    assert code == 0
    assert "3 to run" in err  # hinge with seed 0 is there
    table = rows(only_sweep(tmp_path))
    assert {method: row["seeds"] for method, row in table.items()} == {"stdgan": "0", "hinge": "0 1", "lsgan": "0 1"}
    found = list(tmp_path.glob("outputs/sweeps/*/*/*/summary.json"))
    assert len(found) == 5

    (sweep,) = {file.parents[1] for file in found}
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.tex", "report.html", "curves.png"):
        (sweep / name).rename(sweep / f"{name}.before")
    code, out, err = swept(str(sweep), cwd=tmp_path, name="gan-report")
    assert code == 0, err
    assert "stdgan" in out
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.tex", "report.html"):
        assert lasting(sweep / name) == lasting(sweep / f"{name}.before")


def lasting(file: Path) -> str:
    """What does not depend on when and where it was written."""
    return re.sub(r"<dt>written</dt><dd>.*?</dd>|href=\".*?\"", "", file.read_text())


@pytest.mark.slow
def test_published_numbers_of_a_study_reach_every_table(tmp_path: Path) -> None:
    (tmp_path / "mine" / "study").mkdir(parents=True)
    (tmp_path / "mine" / "study" / "quoted.yaml").write_text(
        "source: a paper, test split\n"
        "grids:\n"
        "  - {objective: stdgan, published: {fid_digits: 41.7}}\n"
        "  - {objective: 'hinge,lsgan'}\n"
    )
    code, out, err = swept("--config-dir", "mine", "study=quoted", "seed=0", *QUICK, cwd=tmp_path)
    assert code == 0, err
    assert "published fid_digits" in out
    folder = only_sweep(tmp_path)
    jobs = json.loads((folder / "sweep.json").read_text())["jobs"]
    assert {name.split("-")[0]: job.get("published") for name, job in jobs.items()} == {
        "stdgan": {"fid_digits": 41.7},
        "hinge": None,
        "lsgan": None,
    }
    assert {method: row["published_fid_digits"] for method, row in rows(folder).items()} == {
        "stdgan": "41.7",
        "hinge": "",
        "lsgan": "",
    }
    code, out, err = swept(str(folder), "out=again", cwd=tmp_path, name="gan-report")
    assert code == 0, err
    assert "41.7" in out
    for name in ("leaderboard.md", "leaderboard.tex", "report.html"):
        text = (tmp_path / "again" / name).read_text()
        assert lasting(tmp_path / "again" / name) == lasting(folder / name)
        assert "41.7" in text
        assert "measured elsewhere (a paper, test split)" in text


@pytest.mark.slow
def test_two_sweeps_started_at_once_have_a_folder_each(tmp_path: Path) -> None:
    both = [sweeping("objective=stdgan,hinge", "seed=0", *QUICK, cwd=tmp_path) for _ in range(2)]
    for process in both:
        process.communicate(timeout=300)
        assert process.returncode == 0
    folders = [file.parent for file in tmp_path.glob("outputs/sweeps/*/*/sweep.json")]
    assert len(folders) == 2
    assert all(len(list(folder.glob("*/summary.json"))) == 2 for folder in folders)


@pytest.mark.slow
def test_a_race_shares_its_jobs_with_no_other_sweep(tmp_path: Path) -> None:
    long = ["objective=stdgan,hinge", "sweep_dir=mine", *QUICK, "steps=1000000", "evaluate_every=300000", "device=cpu"]
    first = sweeping(*long, "race=true", cwd=tmp_path)
    wait_for(lambda: len(list((tmp_path / "mine").glob("*/metrics.jsonl"))) >= 1)
    for command, said in ((long, "running, which shares"), ([*long, "race=true"], "running, and this one shares")):
        code, _, err = swept(*command, cwd=tmp_path)
        assert code == 2
        assert f"mine belongs to a sweep that is still {said} its jobs with no other" in err
    os.killpg(first.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    _, err = first.communicate(timeout=120)
    assert first.returncode == 130
    assert "the same command continues mine" in err
    states = [json.loads(file.read_text())["status"] for file in (tmp_path / "mine").glob("*/summary.json")]
    assert states
    assert set(states) == {"interrupted"}
    assert "interrupted" in (tmp_path / "mine" / "leaderboard.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGTERM])
def test_a_signal_that_asks_to_stop_is_passed_on_and_its_jobs_are_interrupted(
    number: signal.Signals, tmp_path: Path
) -> None:
    arguments = ["objective=stdgan,hinge", "sweep_dir=mine", *QUICK, "evaluate_every=0", "checkpoint_every=0"]
    process = sweeping(*arguments, "steps=1000000", "seed=0", cwd=tmp_path)
    wait_for(lambda: sum(file.stat().st_size > 0 for file in (tmp_path / "mine").glob("*/metrics.jsonl")) == 2)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    summaries = [json.loads(file.read_text()) for file in (tmp_path / "mine").glob("*/summary.json")]
    assert [summary["status"] for summary in summaries] == ["interrupted"] * 2
    assert all(summary["step"] > 0 for summary in summaries)
    endings = [json.loads(file.read_text())["exit_code"] for file in (tmp_path / "mine" / "logs").glob("*.json")]
    assert endings == [128 + number] * 2


@pytest.mark.slow
def test_a_reader_of_stderr_that_goes_ends_no_job(tmp_path: Path) -> None:
    """As `2>&1 | head -1`."""
    reading, writing = os.pipe()
    command = [str(BIN / "gan-sweep"), "objective=stdgan,hinge,lsgan", "seed=0,1", "sweep_dir=mine", *QUICK]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=writing, stderr=writing)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    assert process.wait(timeout=300) == 0
    statuses = [json.loads(file.read_text())["status"] for file in (tmp_path / "mine").glob("*/summary.json")]
    assert statuses == ["completed"] * 6
    assert (tmp_path / "mine" / "leaderboard.md").is_file()


@pytest.mark.slow
def test_jobs_save_and_end_when_the_sweep_is_killed(tmp_path: Path) -> None:
    process = sweeping("objective=stdgan", "seed=0", "sweep_dir=mine", *QUICK, "steps=1000000", cwd=tmp_path)
    wait_for(lambda: list((tmp_path / "mine").glob("*/metrics.jsonl")))
    process.kill()
    process.communicate()
    wait_for(lambda: list((tmp_path / "mine").glob("*/summary.json")))
    (summary,) = (tmp_path / "mine").glob("*/summary.json")
    assert json.loads(summary.read_text())["status"] == "interrupted"


@pytest.mark.slow
def test_fail_fast_stops_the_others(tmp_path: Path) -> None:
    (tmp_path / "mine" / "objective").mkdir(parents=True)
    (tmp_path / "mine" / "objective" / "breaking.yaml").write_text(BREAKING)
    (tmp_path / "broken").touch()
    command = ["--config-dir", "mine", "objective=breaking", "objective.way=none,exits", "seed=0,1,2", *QUICK]
    code, _, err = swept(*command, "steps=1000000", "fail_fast=true", "slots_per_device=2", cwd=tmp_path)
    assert code == 1
    assert "stopping" in err
    folder = only_sweep(tmp_path)
    assert json.loads(next(folder.glob("way-none-seed-0-*/summary.json")).read_text())["status"] == "interrupted"
    assert not list(folder.glob("way-none-seed-2-*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dataset=grid", "objective=hinge,stdgan"], "not 2 x 1 x 1: use model=mlp"),
        (["dataset=image_folder", "dataset.root=none", "dry_run=true"], "dataset.root=none is not a folder"),
        (["objective=stdgan,hinge", "steps=0"], "steps=0 must be at least 1"),
        (["objective=stdgan,hing"], "unknown objective 'hing': did you mean hinge?"),
        (["objective=stdgan,hinge", "num_outcomes=7"], "it comes with objective=realness"),
        (["study=comparision"], "unknown study 'comparision': did you mean comparison?"),
        (["seed=interval(0,1)"], "hydra/sweeper=optuna"),
        (["slots_per_device=0"], "slots_per_device=0 must be at least 1"),
        (["objective=stdgan", "+novel=1"], "unknown key 'novel'"),
        (["device=cuda:77", "objective=hinge"], "device=cuda:77 is not available"),
        (["objective=[a"], "cannot read"),
        (["objective=hinge", "run_dir=x"], "remove run_dir=x"),
        (["objective=hinge", "estimate=true"], "remove estimate=true: gan-train estimate=true says what one run needs"),
        (["hydra/sweeper=optuna", "dry_run=true"], "remove dry_run"),
        (["hydra/launcher=submitit_slurm", "objective=hinge"], "pip install 'gan-cli[submitit]'"),
    ],
)
def test_a_slip_is_one_line_and_nothing_is_written(arguments: list[str], said: str, tmp_path: Path) -> None:
    code, out, err = swept(*arguments, cwd=tmp_path)
    assert code in (1, 2)
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_another_launcher_takes_the_jobs(tmp_path: Path) -> None:
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    command = ["objective=stdgan,realness", "num_outcomes=3", "seed=0", *QUICK]
    code, _, err = swept(*command, *launcher, cwd=tmp_path)
    assert code == 0, err
    assert set(rows(only_sweep(tmp_path))) == {"stdgan", "realness num_outcomes=3"}
    code, _, err = swept(*command, cwd=tmp_path)  # the same sweep for any launcher
    assert code == 0, err
    assert "to run" not in err
    only_sweep(tmp_path)


@pytest.mark.slow
def test_dry_run_lists_and_writes_nothing(tmp_path: Path) -> None:
    code, out, _ = swept("dry_run=true", cwd=tmp_path)
    assert code == 0
    assert out.startswith("88 jobs")
    assert len(out.splitlines()) == 89
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_diverged_job_is_a_result(tmp_path: Path) -> None:
    command = ["objective=stdgan,wgan", "seed=0", *QUICK, "discriminator_optimizer.lr=1e30"]
    code, _, err = swept(*command, cwd=tmp_path)
    assert code == 1
    assert "(diverged)" in err
    table = rows(only_sweep(tmp_path))
    assert "1" in [row["diverged"] for row in table.values()]
    code, _, err = swept(*command, cwd=tmp_path)
    assert code == 1
    assert "to run" not in err  # it would diverge again


def wait_for(happened: object, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("where", [[], ["sweep_dir=mine"]])
def test_a_removed_or_torn_sweep_file_costs_no_run(where: list[str], tmp_path: Path) -> None:
    command = ["objective=stdgan,hinge", "seed=0", *QUICK, *where]
    assert swept(*command, cwd=tmp_path)[0] == 0
    (file,) = tmp_path.rglob("sweep.json")
    runs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")}
    file.unlink()
    code, _, err = swept(*command, cwd=tmp_path)
    assert code == 0, err
    assert "to run" not in err
    assert list(tmp_path.rglob("sweep.json")) == [file]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")} == runs
    assert set(rows(file.parent)) == {"stdgan", "hinge"}

    file.write_bytes(file.read_bytes()[:-100])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name, arguments in (("gan-sweep", command), ("gan-report", [str(file.parent)])):
        code, out, err = swept(*arguments, cwd=tmp_path, name=name)
        assert code == 2
        assert out == ""
        assert len(err.splitlines()) == 1
        assert "sweep.json is damaged" in err
        assert "nothing was changed: move" in err
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    file.rename(tmp_path / "away")
    code, _, err = swept(*command, cwd=tmp_path)
    assert code == 0, err
    assert "to run" not in err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("summary.json")} == runs


@pytest.mark.slow
def test_a_study_whose_picture_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine" / "study").mkdir(parents=True)
    (tmp_path / "mine" / "study" / "odd.yaml").write_text("grids:\n  - {objective: stdgan}\npicture: {x: [1]}\n")
    code, _, err = swept("--config-dir", "mine", "study=odd", "sweep_dir=there", *QUICK, cwd=tmp_path)
    assert code == 2
    assert "picture.x in the study" in err
    assert not (tmp_path / "there").exists()
