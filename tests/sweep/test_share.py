"""Several sweeps in one folder: each job is run once, and what a dead one has left is taken over."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from filelock import SoftFileLease, Timeout

from gan_cli.sweep import sweep_folder
from gan_cli.sweep.share import Share
from gan_cli.sweep.sweep_folder import Job, SweepFolder, lease
from gan_cli.sweep.watch import Watch

from .test_sweep import BREAKING, QUICK, rows, sweeping, swept, wait_for


def job(number: int) -> Job:
    return Job(f"job-{number}", [], {"steps": 100})


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """The folder of a sweep that runs."""
    found = SweepFolder(tmp_path)
    found.claims.mkdir()
    return found


def share(folder: SweepFolder, count: int) -> Share:
    jobs = [job(number) for number in range(count)]
    return Share(jobs, folder, Watch(jobs, folder, 1))


def taken(one: Share) -> tuple[str, SoftFileLease]:
    found = one.take()
    assert found is not None
    return found[0].name, found[1]


def look(one: Share) -> list[sweep_folder.State]:
    one.next_look = 0.0
    return one.look()


def test_each_job_is_taken_once(folder: SweepFolder) -> None:
    mine, other = share(folder, 3), share(folder, 3)
    first, claim = taken(mine)
    second, _ = taken(other)
    third, _ = taken(mine)
    assert (first, second, third) == ("job-0", "job-1", "job-2")
    assert mine.take() is None
    assert other.take() is None
    assert list(mine.waiting) == ["job-1"]  # until it has ended, or nobody runs it any more
    assert mine.watch.lines["job-1"].device == "elsewhere"

    folder.ended("job-0", 1, "no luck")
    claim.release()
    assert look(other) == ["failed"]
    assert list(other.waiting) == ["job-2"]
    assert other.take() is None
    assert look(mine) == []


def test_a_job_that_failed_before_has_another_try_and_one_that_fails_meanwhile_has_not(folder: SweepFolder) -> None:
    folder.ended("job-0", 1, "no luck")
    one = share(folder, 2)
    folder.ended("job-1", 1, "no luck")
    assert taken(one)[0] == "job-0"
    assert folder.state(job(0)) == "waiting"
    assert one.take() is None
    assert not one.waiting


def test_a_job_that_another_sweep_was_to_stop_is_continued(folder: SweepFolder) -> None:
    mine, other = share(folder, 1), share(folder, 1)
    _, claim = taken(other)
    assert mine.take() is None
    folder.ended("job-0", 130, "exit code 130: interrupted")
    claim.release()
    assert look(mine) == []
    assert taken(mine)[0] == "job-0"


def test_what_is_dropped_is_not_looked_at_any_more(folder: SweepFolder) -> None:
    mine, other = share(folder, 2), share(folder, 2)
    _, claim = taken(other)
    taken(mine)
    assert mine.take() is None
    mine.drop()
    claim.release()
    assert look(mine) == []
    assert mine.take() is None


def test_a_claim_is_taken_over_when_its_process_is_dead(folder: SweepFolder) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    mine, other = share(folder, 1), share(folder, 1)
    _, claim = taken(other)
    path = folder.claim("job-0")
    path.write_text(path.read_text().replace(str(os.getpid()), str(ended.pid)))
    found = mine.take()
    if found is None:  # an older filelock removes the claim first
        look(mine)
        found = mine.take()
    assert found is not None
    assert claim.token is not None


def on_another_machine(path: Path) -> None:
    """Makes the lease that of a process which this machine cannot look at."""
    text = path.read_text()
    assert socket.gethostname() in text
    path.write_text(text.replace(socket.gethostname(), "another-host"))


def test_a_claim_of_another_machine_is_taken_over_after_a_time_without_a_sign(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_folder, "SECONDS_OF_LEASE", 0.3)
    silent = SoftFileLease(folder.claim("job-0"), lease_duration=0.3, heartbeat_interval=0.29)
    silent.acquire()
    on_another_machine(folder.claim("job-0"))
    silent._stop_heartbeat()  # type: ignore[attr-defined]
    mine = share(folder, 1)
    began = time.monotonic()
    while mine.take() is None:
        assert time.monotonic() - began < 5
        look(mine)
        time.sleep(0.02)
    assert time.monotonic() - began > 0.29


def test_a_claim_of_another_machine_that_shows_signs_of_life_stays(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_folder, "SECONDS_OF_LEASE", 0.3)
    alive = lease(folder.claim("job-0"))
    alive.acquire()
    on_another_machine(folder.claim("job-0"))
    mine = share(folder, 1)
    for _ in range(20):
        assert mine.take() is None
        look(mine)
        time.sleep(0.03)
    alive.release()
    assert look(mine) == []
    assert taken(mine)[0] == "job-0"


def test_a_run_that_is_still_written_is_waited_for(folder: SweepFolder) -> None:
    """Its sweep was killed; the job saves its state."""
    mine, run = share(folder, 1), folder.run("job-0")
    run.path.mkdir()
    with run.locked():
        assert mine.take() is None
        assert not folder.claimed()
    look(mine)
    assert taken(mine)[0] == "job-0"


def test_a_sweep_stays_when_the_one_that_it_joined_leaves(folder: SweepFolder) -> None:
    with lease(folder.path / ".running"):
        assert folder.busy
        one = share(folder, 1)
        look(one)
        with pytest.raises(Timeout):
            lease(folder.path / ".running").acquire()
    look(one)
    assert folder.presence.is_locked
    folder.leave()
    assert not folder.busy


@pytest.mark.slow
def test_two_sweeps_of_one_folder_share_its_jobs_and_have_the_same_table(tmp_path: Path) -> None:
    command = ["objective=stdgan,hinge,lsgan", "seed=0", "sweep_dir=mine", *QUICK, "slots_per_device=1"]
    both = [sweeping(*command, cwd=tmp_path) for _ in range(2)]
    told = []
    for process in both:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        told.append(err)
    own = [{line.split()[1] for line in err.splitlines() if line.startswith("started ")} for err in told]
    assert all(own), told
    assert not own[0] & own[1]
    assert len(own[0] | own[1]) == 3
    assert all(err.count("  elsewhere") == 3 - len(mine) for err, mine in zip(told, own, strict=True))
    assert all(row["completed"] == "1" for row in rows(tmp_path / "mine").values())
    sessions = [file.read_text().splitlines() for file in (tmp_path / "mine").glob("*/sessions.jsonl")]
    assert [len(lines) for lines in sessions] == [1] * 3  # each was started once
    assert not list((tmp_path / "mine" / "claims").iterdir())


@pytest.mark.slow
def test_the_jobs_of_a_killed_sweep_are_continued_by_the_other(tmp_path: Path) -> None:
    (tmp_path / "mine" / "objective").mkdir(parents=True)
    (tmp_path / "mine" / "objective" / "breaking.yaml").write_text(BREAKING)
    (tmp_path / "broken").touch()
    command = ["--config-dir", "mine", "objective=breaking", "objective.way=slow", "seed=0,1", "sweep_dir=there"]
    command += [*QUICK, "steps=300", "log_every=1", "evaluate_every=0", "sample_every=0", "slots_per_device=1"]
    first, second = (sweeping(*command, cwd=tmp_path) for _ in range(2))
    wait_for(lambda: sum(file.stat().st_size > 0 for file in (tmp_path / "there").glob("*/metrics.jsonl")) == 2)
    first.kill()
    first.communicate()
    wait_for(lambda: list((tmp_path / "there").glob("*/summary.json")))  # its job has saved its state
    (tmp_path / "broken").unlink()
    _, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    summaries = [json.loads(file.read_text()) for file in (tmp_path / "there").glob("*/summary.json")]
    assert [summary["status"] for summary in summaries] == ["completed"] * 2
    assert sorted(len(summary["sessions"]) for summary in summaries) == [1, 2]


@pytest.mark.slow
def test_a_sweep_that_joins_is_told_what_it_cannot_share(tmp_path: Path) -> None:
    """A search chooses its jobs itself."""
    folder = SweepFolder(tmp_path / "mine")
    with folder.entered(shares=True):
        folder.add([], shares=False)
        code, _, err = swept("objective=stdgan", "seed=0", "sweep_dir=mine", *QUICK, cwd=tmp_path)
    assert code == 2
    assert "still running, which shares its jobs with no other" in err
