"""Runs the jobs of a sweep until all have ended, wherever their processes are."""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from filelock import SoftFileLease

from gan_cli.errors import InterruptedRunError
from gan_cli.runs.signals import stop_on_signal
from gan_cli.sweep.share import Share
from gan_cli.sweep.sweep_folder import Job, SweepFolder
from gan_cli.sweep.watch import Watch

SECONDS_BETWEEN_LOOKS = 0.1


@dataclass
class Running(ABC):
    """A job that this sweep has started."""

    job: Job
    started: float = field(default_factory=time.monotonic, init=False)

    @abstractmethod
    def has_ended(self) -> bool:
        """Whether its process has ended, which is then recorded in the sweep's folder, and its claim released."""

    @abstractmethod
    def stop(self, number: int) -> None:
        """Asks it to save its state and end."""

    @abstractmethod
    def kill(self) -> None:
        """Ends it at once, if it is to end with the sweep."""


class Machines(ABC):
    """Where the jobs of a sweep run, as `described`: `most` at once, 0 if that is not known.

    `goes_on` says what jobs do without the sweep; it is empty where they end with it.
    """

    most: int = 0
    described: str
    goes_on: str = ""

    @abstractmethod
    def has_room(self) -> bool: ...

    @abstractmethod
    def start(self, job: Job, claim: SoftFileLease) -> tuple[Running, str]:
        """Starts the job that this sweep has claimed, or lets it claim itself; also returns where it runs."""


def run_all(jobs: Sequence[Job], folder: SweepFolder, machines: Machines, watch: Watch, *, fail_fast: bool) -> None:
    """Runs every job, as many at once as the machines have room for, and waits for those that other sweeps run.

    A job that fails is named, and the others continue unless `fail_fast`. Raises InterruptedRunError after a signal.
    """
    share, running = Share(jobs, folder, watch), list[Running]()
    failed = stopping = told = False
    folder.logs.mkdir(exist_ok=True)
    with stop_on_signal() as stop, watch:
        try:
            while share.waiting or running:
                if stop.signal and machines.goes_on:
                    break
                if not stopping and (stop.signal or (failed and fail_fast)):
                    stopping = True
                    share.drop()
                    watch.note(f"stopping: {len(running)} running jobs save their state; Ctrl-C again kills them")
                    for one in running:
                        one.stop(stop.signal or signal.SIGTERM)
                failed |= "failed" in share.look()
                while not stop.signal and share.waiting and machines.has_room() and (taken := share.take()):
                    one, where = machines.start(*taken)
                    running.append(one)
                    watch.started(one.job.name, where)
                for one in [one for one in running if one.has_ended()]:
                    running.remove(one)
                    if folder.how_it_ended(one.job.name)["exit_code"] is None:  # another sweep has it
                        if not stopping:
                            share.left(one.job)
                        continue
                    state = folder.state(one.job)
                    failed |= state == "failed"
                    reason = "" if state == "interrupted" and stopping else folder.how_it_ended(one.job.name)["error"]
                    watch.ended(one.job.name, state, reason, time.monotonic() - one.started)
                if not running and not told and share.waiting.keys() == share.elsewhere.keys() != set():
                    told = True
                    watch.note(f"waiting for {len(share.waiting)} jobs that run elsewhere; Ctrl-C leaves them alone")
                watch.refresh()
                time.sleep(SECONDS_BETWEEN_LOOKS)
        except KeyboardInterrupt:
            pass  # the second Ctrl-C: the sweep can continue from the saved checkpoints
        finally:
            for one in running:
                one.kill()
    if stop.signal:
        left = f"{machines.goes_on}; the same command follows them" if running and machines.goes_on else ""
        raise InterruptedRunError(f"interrupted; {left or f'the same command continues {folder.path}'}", stop.signal)
