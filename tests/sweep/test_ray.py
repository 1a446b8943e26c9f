"""Jobs of Ray, where it is installed: one that crashes, and one whose worker is killed."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gan_cli.errors import UserError
from gan_cli.sweep.ray_tasks import Ray
from gan_cli.sweep.sweep_folder import SweepFolder

from .test_sweep import BREAKING, QUICK, ROOT, rows, wait_for

HAS_RAY = importlib.util.find_spec("ray") is not None
SETTINGS: dict[str, Any] = {"address": "auto", "num_gpus": None, "num_cpus": 1.0, "max_restarts": 3, "max_jobs": 256}


def test_without_ray_a_sweep_is_told_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = OmegaConf.create({"device": "cpu", "hydra": {"overrides": {"hydra": []}}})
    with pytest.raises(UserError, match=r"pip install 'gan-cli\[ray\]'"):
        Ray(SweepFolder(tmp_path), SETTINGS, config)


def sweeping(cwd: Path, *more: str) -> "subprocess.Popen[str]":
    launcher = ["hydra/launcher=ray", "hydra.launcher.address=null", "hydra.launcher.num_cpus=1", "sweep_dir=there"]
    words = [*launcher, *QUICK, "log_every=1", "evaluate_every=0", "sample_every=0", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "gan_cli", "sweep", "--config-dir", "mine", *words],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def worker_of(job: str) -> int:
    """The process that has started this job's gan-train."""
    listed = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"gan_cli\.cli (\d+) .*/{re.escape(job)}'", listed)
    assert found is not None, listed
    return int(found[1])


def with_breaking_jobs(place: Path) -> Path:
    """Writes what makes jobs break; returns the sweep's folder, which is not there yet."""
    (place / "mine" / "objective").mkdir(parents=True)
    (place / "mine" / "objective" / "breaking.yaml").write_text(BREAKING)
    (place / "broken").touch()
    return place / "there"


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="no Ray")
def test_a_killed_worker_and_a_crash_harm_no_other_job(tmp_path: Path) -> None:
    folder = with_breaking_jobs(tmp_path)
    process = sweeping(
        tmp_path, "objective=breaking", "objective.way=slow,exits", "seed=0", "steps=300", "checkpoint_every=5"
    )
    wait_for(lambda: list(folder.glob("way-slow*/checkpoints/step-00000005")))  # Ray kills what its worker has started
    (slow,) = (path.name for path in folder.glob("way-slow*"))
    os.kill(worker_of(slow), signal.SIGKILL)
    wait_for(lambda: len((folder / slow / "sessions.jsonl").read_text().splitlines()) == 2)
    wait_for(lambda: any("exits" in file.name for file in folder.glob("logs/*.json")))
    (tmp_path / "broken").unlink()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    assert "FAILED  way-exits-seed-0" in err
    sessions = json.loads((folder / slow / "summary.json").read_text())["sessions"]
    assert sessions[1]["step"] > 0, "continued where it was"
    table = {method: (row["completed"], row["failed"]) for method, row in rows(folder).items()}
    assert table == {"way=slow": ("1", "0"), "way=exits": ("0", "1")}


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="no Ray")
def test_an_interrupted_sweep_saves_its_jobs_and_continues(tmp_path: Path) -> None:
    folder = with_breaking_jobs(tmp_path)
    process = sweeping(tmp_path, "objective=breaking", "objective.way=slow", "seed=0", "steps=300")
    wait_for(lambda: any(file.stat().st_size for file in folder.glob("*/metrics.jsonl")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    (file,) = folder.glob("*/summary.json")
    assert json.loads(file.read_text())["status"] == "interrupted"
    (tmp_path / "broken").unlink()
    again = sweeping(tmp_path, "objective=breaking", "objective.way=slow", "seed=0", "steps=300")
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert json.loads(file.read_text())["sessions"][1]["step"] > 0


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="no Ray")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["hydra.launcher.num_cpus=1000"], "num_cpus=1000 for each job, but this Ray has"),
        (["hydra.launcher.address=127.0.0.1:1"], "hydra.launcher.address=127.0.0.1:1 is not Ray"),
        (["hydra.launcher.address=auto"], "hydra.launcher.address=auto is not Ray"),
    ],
)
def test_a_ray_that_cannot_run_the_jobs_is_told_in_one_line(more: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    process = sweeping(tmp_path, "objective=stdgan", "seed=0", *more)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said in err.splitlines()[-1]
    assert not (tmp_path / "there").exists()
