"""Jobs of SLURM: how the queue is read, and, where SLURM can run here, jobs that crash, are preempted and time out."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from gan_cli.errors import UserError
from gan_cli.sweep import slurm as own
from gan_cli.sweep.slurm import Queued, Slurm
from gan_cli.sweep.sweep_folder import Job, SweepFolder, lease

from . import slurm_here
from .test_sweep import BREAKING, QUICK, ROOT, rows, wait_for

SETTINGS: dict[str, Any] = {
    **{"partition": None, "account": None, "qos": None, "constraint": None, "timeout_min": 240, "max_num_timeout": 100},
    **{"signal_delay_s": 120, "gpus_per_node": None, "cpus_per_task": 4, "mem_gb": None, "max_jobs": 2, "setup": []},
    "additional_parameters": {},
}


def config(device: str) -> DictConfig:
    return OmegaConf.create({"device": device, "hydra": {"overrides": {"hydra": []}}})


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the stand-in of squeue knows; submitit and SLURM seem to be there."""
    known: dict[str, str] = {}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr(own, "asked", lambda *words: "".join(f"{key} {state}\n" for key, state in known.items()))
    monkeypatch.setattr(own, "SECONDS_BETWEEN_LOOKS", 0.0)
    return known


def machines(tmp_path: Path, device: str = "auto", **settings: Any) -> Slurm:
    folder = SweepFolder(tmp_path)
    folder.logs.mkdir(exist_ok=True)
    folder.claims.mkdir(exist_ok=True)
    return Slurm(folder, SETTINGS | settings, config(device))


def started(one: Slurm, name: str) -> Queued:
    claim = lease(one.folder.claim(name))
    claim.acquire()
    running, _ = one.start(Job(name, [], {}), claim)
    assert not one.folder.claimed()  # the job itself takes it
    return running


def test_a_job_has_a_gpu_unless_it_is_to_run_on_the_cpu(tmp_path: Path, queue: dict[str, str]) -> None:
    asked = {device: machines(tmp_path, device).settings["gpus_per_node"] for device in ("auto", "cuda", "cpu")}
    assert asked == {"auto": 1, "cuda": 1, "cpu": 0}
    assert machines(tmp_path, gpus_per_node=2).settings["gpus_per_node"] == 2


def test_a_job_that_is_in_the_queue_is_not_submitted_again(
    tmp_path: Path, queue: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[str] = []

    def submit(self: Slurm, job: Job) -> str:
        submitted.append(job.name)
        return str(len(submitted))

    monkeypatch.setattr(Slurm, "submit", submit)
    one = machines(tmp_path)
    assert (started(one, "a").number, started(one, "b").number) == ("1", "2")
    assert not one.has_room()
    queue |= {"1": "PENDING", "2": "COMPLETED"}
    again = machines(tmp_path)
    assert (started(again, "a").number, started(again, "b").number) == ("1", "3")
    assert submitted == ["a", "b", "b"]


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "REQUEUED"])
def test_a_job_goes_on_while_it_is_in_the_queue(state: str, tmp_path: Path, queue: dict[str, str]) -> None:
    queue["7"] = state
    assert not Queued(Job("a", [], {}), "7", machines(tmp_path)).has_ended()


@pytest.mark.parametrize("state", ["OUT_OF_MEMORY", "NODE_FAIL", "CANCELLED", ""])
def test_a_job_that_ends_without_a_word_has_failed_after_a_time(
    state: str, tmp_path: Path, queue: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue |= {"7": state} if state else {}
    one = machines(tmp_path)
    running = Queued(Job("a", [], {}), "7", one)
    assert not running.has_ended()  # what it has written may be seen later
    monkeypatch.setattr(own, "SECONDS_UNSEEN", 0.0)
    assert running.has_ended()
    assert one.folder.state(running.job) == "failed"
    assert (state or "no longer in the queue") in one.folder.how_it_ended("a")["error"]


def test_a_job_that_was_run_elsewhere_is_left_without_an_end(tmp_path: Path, queue: dict[str, str]) -> None:
    queue["7"] = "COMPLETED"
    one = machines(tmp_path)
    assert Queued(Job("a", [], {}), "7", one).has_ended()
    assert one.folder.how_it_ended("a")["exit_code"] is None


def test_slurm_that_does_not_answer_ends_no_job(
    tmp_path: Path, queue: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue["7"] = "RUNNING"
    running = Queued(Job("a", [], {}), "7", machines(tmp_path))
    assert not running.has_ended()
    monkeypatch.setattr(own, "asked", lambda *words: None)
    assert not running.has_ended()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"timeout_min": 0}, "hydra.launcher.timeout_min=0 must be at least 1"),
        ({"timeout_min": "long"}, "timeout_min=long"),
        ({"max_jobs": 0}, "hydra.launcher.max_jobs=0 must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    settings: dict[str, Any], said: str, tmp_path: Path, queue: dict[str, str]
) -> None:
    with pytest.raises(UserError, match=said):
        machines(tmp_path, **settings)


def test_what_is_missing_is_told_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'gan-cli\[submitit\]'"):
        machines(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match="needs SLURM's sbatch"):
        machines(tmp_path)


@pytest.mark.slow
def test_what_runs_a_job_on_a_node_imports_no_torch() -> None:
    """Each job would need a second or more, and hundreds of megabytes, for nothing."""
    told = "import sys, gan_cli.sweep.remote; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", told], env=environment).returncode == 0


def absent() -> str:
    return "no submitit" if importlib.util.find_spec("submitit") is None else slurm_here.missing()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A SLURM on this machine, for commands with this environment."""
    with slurm_here.slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def sweeping(cwd: Path, environment: dict[str, str], *more: str) -> "subprocess.Popen[str]":
    words = [*QUICK, "steps=40", "log_every=1", "evaluate_every=0", "sample_every=0", "checkpoint_every=0"]
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "sweep_dir=there"]
    return subprocess.Popen(
        [sys.executable, "-m", "gan_cli", "sweep", "--config-dir", "mine", *launcher, *words, *more],
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def numbers(folder: Path) -> dict[str, str]:
    """The jobs' numbers in SLURM."""
    return {file.stem: file.read_text().strip() for file in folder.glob("logs/*.slurm")}


def steps(folder: Path, name: str) -> int:
    try:
        return len((folder / name / "metrics.jsonl").read_text().splitlines())
    except OSError:
        return 0


@pytest.mark.slow
@pytest.mark.skipif(bool(absent()), reason=absent())
def test_jobs_that_are_preempted_warned_and_crash_end_in_the_same_table(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    """Two jobs are slow until they have been interrupted; two crash. The sweep is interrupted, too."""
    (tmp_path / "mine" / "objective").mkdir(parents=True)
    (tmp_path / "mine" / "objective" / "breaking.yaml").write_text(BREAKING)
    (tmp_path / "broken").touch()
    folder = tmp_path / "there"
    jobs = ["objective=breaking", "objective.way=slow,exits", "seed=0,1"]
    first = sweeping(tmp_path, cluster, *jobs)
    wait_for(lambda: len(numbers(folder)) == 4)
    slow = [name for name in numbers(folder) if "slow" in name]
    wait_for(lambda: all(steps(folder, name) > 1 for name in slow), 180)

    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "the jobs go on in SLURM (scancel --name=gan-there ends them)" in err

    second = sweeping(tmp_path, cluster, *jobs)
    warned, _ = slow
    slurm_here.asked(cluster, "scancel", "--signal=USR2", numbers(folder)[warned])  # as before its time limit
    time.sleep(1)
    slurm_here.asked(cluster, "sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
    wait_for(lambda: all(steps(folder, name) and (folder / name / "summary.json").exists() for name in slow))
    (tmp_path / "broken").unlink()
    _, err = second.communicate(timeout=400)
    assert second.returncode in (0, 1), err  # those that crashed may have had another try after the file was gone
    for name in slow:
        summary = json.loads((folder / name / "summary.json").read_text())
        assert summary["status"] == "completed"
        first_session, *later = summary["sessions"]
        assert first_session["step"] == 0
        assert [session["step"] > 1 for session in later], "continued where it was stopped"
        assert later
    assert rows(folder)["way=slow"]["completed"] == "2"
    third = sweeping(tmp_path, cluster, *jobs)
    third.communicate(timeout=400)
    assert third.returncode == 0
    assert rows(folder)["way=exits"]["completed"] == "2"
