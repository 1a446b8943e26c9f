"""A job on a machine of a cluster: it claims itself there, runs as gan-train, and records how it ended.

Nothing here imports torch: the process that runs a job has no use for it.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout

from gan_cli.errors import one_line
from gan_cli.sweep.share import TRIED
from gan_cli.sweep.sweep_folder import ENDED, SECONDS_OF_LEASE, Job, SweepFolder, lease
from gan_cli.sweep.watch import last_line

SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class RemoteJob:
    """What has to be known there; `arguments` are those of gan-train, `directory` the one of the sweep."""

    folder: str
    name: str
    arguments: list[str]
    directory: str

    def run(self, *, again: bool, threads: int | None) -> int | None:
        """Runs the job to its end, and returns its exit code; None if it has ended, or if another sweep runs it.

        A job that begins `again`, as its machine was taken from it, waits until its own claim is free.
        """
        folder = SweepFolder(Path(self.folder))
        claim = lease(folder.claim(self.name), timeout=1.1 * SECONDS_OF_LEASE if again else 0.0)
        try:
            claim.acquire()
        except Timeout:
            return None
        try:
            state, ending = folder.state(Job(self.name, [], {})), folder.how_it_ended(self.name)
            if state in ENDED or (state in TRIED and ending["exit_code"] is not None):
                return None
            patience = time.monotonic() + SECONDS_OF_LEASE
            while folder.run(self.name).busy and time.monotonic() < patience:  # a process that lost its parent saves it
                time.sleep(SECONDS_BETWEEN_LOOKS)
            folder.begin(self.name)
            environment = {"OMP_NUM_THREADS": str(threads or len(usable_cores()))} | os.environ
            with folder.log(self.name).open("ab") as log:
                process = subprocess.Popen(
                    [*program(), *self.arguments],
                    cwd=self.directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            code = waited(process, claim)
            if claim.compromise is None:
                conclude(folder, self.name, code)
            return code
        finally:
            claim.release()


@dataclass(frozen=True)
class SlurmJob(RemoteJob):
    """What submitit runs on a node: SLURM's warning goes on to submitit when the run is saved."""

    def __call__(self) -> None:
        warned = []
        previous = signal.signal(signal.SIGUSR2, lambda *_: warned.append(True))
        threads = os.environ.get("SLURM_CPUS_PER_TASK")
        again = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
        code = self.run(again=again, threads=None if threads is None else int(threads))
        signal.signal(signal.SIGUSR2, previous)
        if warned and code in (128 + signal.SIGUSR2, -signal.SIGUSR2):
            try:
                signal.raise_signal(signal.SIGUSR2)  # submitit puts the job into the queue again, and exits
            except Exception as error:  # it does not do so any more
                SweepFolder(Path(self.folder)).ended(self.name, code, one_line(error))

    def checkpoint(self) -> Any:
        """The job as it goes on; the run itself knows where."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def program() -> list[str]:
    """gan-train as a child of this process, with which it ends."""
    return [sys.executable, "-P", "-m", "gan_cli.cli", str(os.getpid())]


def usable_cores() -> list[int]:
    """The cores that this process may run on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def run_remote(job: RemoteJob, again: bool) -> None:
    """What a worker of Ray does."""
    job.run(again=again, threads=None)


def waited(process: "subprocess.Popen[bytes]", claim: SoftFileLease) -> int:
    """The process's exit code. It is asked to save and end if the claim is lost, or if Ray cancels the job."""
    asked = False
    while (code := process.poll()) is None:
        try:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
        if claim.compromise is not None and not asked:
            asked = True
            process.send_signal(signal.SIGTERM)
    return code


def conclude(folder: SweepFolder, name: str, code: int) -> None:
    """Records how a job's process ended, and why if not well."""
    last = last_line(folder.log(name)) or "no output"
    signal_name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
    reason = f"killed by {signal_name}" if code < 0 else f"exit code {code}: {last}"
    if code == -signal.SIGKILL:
        reason += ", perhaps for lack of memory"
    folder.ended(name, code, reason if code else "")
