"""A job on a machine of a cluster: it claims itself there, runs as gan-train, and records how it ended."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import SoftFileLease, Timeout

from gan_cli.config.overrides import key_of
from gan_cli.sweep.processes import arguments, conclude, program, usable_cores
from gan_cli.sweep.share import TRIED
from gan_cli.sweep.sweep_folder import ENDED, SECONDS_OF_LEASE, Job, SweepFolder, lease

SECONDS_BETWEEN_LOOKS = 0.2

Remote = TypeVar("Remote", bound="RemoteJob")


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


def remote_job(kind: type[Remote], job: Job, folder: SweepFolder, searched: Sequence[str], *, on_gpu: bool) -> Remote:
    """The job as it is sent; `on_gpu` it is refused by a machine that hides its GPU, in place of a run on the CPU."""
    given = arguments(job, folder, searched)
    if on_gpu:
        given = [*(word for word in given if key_of(word) != "device"), "device=cuda"]
    return kind(str(folder.path.absolute()), job.name, given, os.getcwd())


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
