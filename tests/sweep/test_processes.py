"""Where jobs run, with which command, and what is told of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from gan_cli.errors import UserError
from gan_cli.sweep import processes
from gan_cli.sweep.processes import Slot, arguments, device_slots, on_cores
from gan_cli.sweep.remote import program
from gan_cli.sweep.sweep_folder import Job, SweepFolder
from gan_cli.sweep.watch import Watch


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight cores and four GPUs, all visible, and a user who set nothing."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(processes, "choose_device", lambda name: torch.device("cuda" if name == "auto" else name))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


def on_gpu(name: str, *cores: int, threads: int) -> Slot:
    return Slot(f"GPU {name}", {"CUDA_VISIBLE_DEVICES": name, "OMP_NUM_THREADS": str(threads)}, frozenset(cores))


def on_cpu(*cores: int, threads: int) -> Slot:
    return Slot("CPU", {"OMP_NUM_THREADS": str(threads)}, frozenset(cores))


def test_each_gpu_is_a_slot_with_its_share_of_the_cores(machine: pytest.MonkeyPatch) -> None:
    expected = [on_gpu(name, 2 * number, 2 * number + 1, threads=2) for number, name in enumerate("0123")]
    assert device_slots("auto", None, 100) == expected


def test_small_nets_share_a_gpu_after_every_gpu_has_one(machine: pytest.MonkeyPatch) -> None:
    assert device_slots("auto", 2, 100) == [on_gpu(name, core, threads=1) for core, name in enumerate("01230123")]
    assert [slot.device[-1] for slot in device_slots("auto", 2, 5)] == list("01230")


def test_few_jobs_have_more_cores_each(machine: pytest.MonkeyPatch) -> None:
    assert device_slots("auto", None, 2) == [on_gpu("0", 0, 1, 2, 3, threads=4), on_gpu("1", 4, 5, 6, 7, threads=4)]


def test_only_visible_gpus_count_and_keep_their_names(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5f2c")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in device_slots("auto", None, 9)] == ["3", "GPU-5f2c"]
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in device_slots("cuda:1", None, 9)] == ["GPU-5f2c"]


def test_the_cpu_has_a_slot_a_core_unless_said_otherwise(machine: pytest.MonkeyPatch) -> None:
    assert device_slots("cpu", None, 100) == [on_cpu(core, threads=1) for core in range(8)]
    assert device_slots("cpu", 2, 100) == [on_cpu(0, 1, 2, 3, threads=4), on_cpu(4, 5, 6, 7, threads=4)]


def test_jobs_of_a_sweep_have_as_many_threads_each_and_every_core_has_a_job(machine: pytest.MonkeyPatch) -> None:
    slots = [on_cpu(0, 1, threads=2), on_cpu(2, 3, 4, threads=2), on_cpu(5, 6, 7, threads=2)]
    assert device_slots("cpu", None, 3) == slots


def test_more_slots_than_cores_share_them(machine: pytest.MonkeyPatch) -> None:
    assert device_slots("cpu", 12, 100) == [on_cpu(number % 8, threads=1) for number in range(12)]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no call for it")
def test_a_process_runs_on_the_cores_of_its_slot_alone() -> None:
    own = os.sched_getaffinity(0)
    one = {min(own)}
    told = [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"]
    with on_cores(one):
        found = subprocess.run(told, capture_output=True, text=True, check=True).stdout
    assert (found.strip(), os.sched_getaffinity(0)) == (str(one), own)


def test_threads_that_the_user_set_stay(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("OMP_NUM_THREADS", "3")
    assert device_slots("cpu", 2, 100)[0].environment == {"OMP_NUM_THREADS": "3"}


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="device=cuda:77 is not available"):
        device_slots("cuda:77", None, 1)


def test_a_job_is_gan_train_in_its_own_folder(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "it's")
    job = Job("hinge-seed-0-12345678", ["objective=hinge", "device=cuda:1", "seed=0"], {})
    words = arguments(job, folder, ["hydra.searchpath=[file:///x]"])
    assert program()[1:4] == ["-P", "-m", "gan_cli.cli"]
    assert words[:3] == ["objective=hinge", "seed=0", "hydra.searchpath=[file:///x]"]  # its slot shows it one GPU
    assert OverridesParser.create().parse_override(words[3]).value() == str(tmp_path / "it's" / job.name)
    assert "device=cpu" in arguments(Job("x", ["device=cpu"], {}), folder, [])


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    jobs = [Job(f"job-{number}", [], {"steps": 100}) for number in range(4)]
    return Watch(jobs, SweepFolder(tmp_path), num_slots=2)


def write(watch: Watch, name: str, text: str) -> None:
    metrics = watch.lines[name].run.metrics
    metrics.parent.mkdir(exist_ok=True)
    with metrics.open("a") as file:
        file.write(text)


def test_a_job_is_followed_record_by_record(watch: Watch) -> None:
    line = watch.lines["job-0"]
    line.read_new()
    assert (line.step, line.score) == (0, "")
    losses = {"discriminator": {"a": 1.0, "b": 0.5}, "generator": {"a": 2.0}}
    torn = json.dumps({"step": 20, "losses": losses})
    write(watch, "job-0", json.dumps({"step": 10, "metrics": {"fid_digits": 0.123456, "kid": 7.0}}) + "\n" + torn[:9])
    line.read_new()
    assert (line.step, line.score, line.losses) == (10, "fid_digits 0.1235", {})
    write(watch, "job-0", torn[9:] + "\n")
    line.read_new()
    assert (line.step, line.losses) == (20, losses)
    write(watch, "job-0", '"losses": {}}\n')  # half a line, as after a file was written anew under our eyes
    line.read_new()
    assert (line.step, line.losses) == (20, losses)
    line.run.metrics.write_text("")  # continued from its beginning
    write(watch, "job-0", json.dumps({"step": 1, "metrics": {"modes_covered": 8.0, "mode_kl": 0.0}}) + "\n")
    line.read_new()
    assert (line.step, line.score) == (1, "modes_covered 8")


def test_the_time_left_follows_from_the_jobs_that_are_done(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch.estimate() == ""
    watch.started("job-0", "CPU")
    watch.started("job-1", "CPU")
    watch.lines["job-1"].step = 50
    watch.ended("job-0", "completed", "", 400.0)
    # left: half of job-1, and two whole jobs: 2.5 jobs of 400 s on 2 slots
    assert watch.estimate() == "about 8 min left"
    watch.ended("job-1", "failed", "exit code 3: no luck", 60.0)
    assert watch.estimate() == "about 7 min left"  # what failed early says nothing of how long a job takes
    told = capsys.readouterr().err
    assert "[1/4] completed  job-0" in told
    assert "[2/4] FAILED  job-1  exit code 3: no luck" in told


def test_the_table_shows_what_runs_first_and_counts_the_rest(watch: Watch) -> None:
    watch.console.width = 100
    for name, state in zip(watch.lines, ("completed", "waiting", "running", "failed"), strict=True):
        watch.lines[name].state = state
    with watch.console.capture() as captured:
        watch.console.print(watch.table())
    shown = captured.get()
    assert shown.index("job-2") < shown.index("job-3") < shown.index("job-1") < shown.index("job-0")
    assert "1 completed, 1 waiting, 1 running, 1 failed" in shown
