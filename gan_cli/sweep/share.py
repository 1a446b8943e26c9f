"""The jobs that nobody has run yet, shared by all sweeps in a folder, on one machine or on several.

Whoever runs a job holds a lease on it: a file that only one process can create, which touches it while it lives.
"""

import time
from collections.abc import Sequence

from filelock import SoftFileLease, Timeout

from gan_cli.sweep.sweep_folder import ENDED, Job, State, SweepFolder, lease
from gan_cli.sweep.watch import Watch

SECONDS_BETWEEN_LOOKS = 2.0  # at the jobs of other sweeps
TRIED: tuple[State, ...] = ("failed", "stopped")  # not run again, unless they were so when this sweep began


class Share:
    """The jobs that wait for this sweep, and among them those that another one runs."""

    def __init__(self, jobs: Sequence[Job], folder: SweepFolder, watch: Watch) -> None:
        self.folder, self.watch = folder, watch
        self.waiting = {job.name: job for job in jobs}
        self.elsewhere: dict[str, SoftFileLease] = {}
        self.refused: set[str] = set()  # since the last look
        self.before = folder.states(jobs)
        self.next_look = 0.0

    def look(self) -> list[State]:
        """Looks now and then at what other sweeps run; returns the states of those of their jobs that have ended."""
        if time.monotonic() < self.next_look:
            return []
        self.next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
        self.refused.clear()
        self.folder.stay()
        claimed = self.folder.claimed()
        for name in self.waiting.keys() & claimed - self.elsewhere.keys():
            self.left_to_other(name, lease(self.folder.claim(name)))
        ended = [self.settled(self.waiting[name]) for name in self.elsewhere.keys() - claimed]
        return [state for state in ended if state is not None]

    def take(self) -> tuple[Job, SoftFileLease] | None:
        """The next job that is this sweep's now, with the lease on it; None if there is none at present."""
        for name, job in list(self.waiting.items()):
            if name in self.refused:
                continue
            claim = self.elsewhere.get(name) or lease(self.folder.claim(name))
            try:
                claim.acquire()
            except Timeout:
                self.left_to_other(name, claim)
                continue
            if self.settled(job) is not None:
                claim.release()
            elif self.folder.run(name).busy:  # a process whose sweep is gone still saves it
                claim.release()
                self.left_to_other(name, claim)
            else:
                self.folder.begin(name)
                del self.waiting[name]
                return job, claim
        return None

    def drop(self) -> None:
        """Leaves all that wait to other sweeps, or to the next command."""
        self.waiting.clear()
        self.elsewhere.clear()

    def left(self, job: Job) -> None:
        """A job of this sweep that another one has taken waits for its end."""
        self.waiting[job.name] = job
        self.left_to_other(job.name, lease(self.folder.claim(job.name)))

    def left_to_other(self, name: str, claim: SoftFileLease) -> None:
        self.refused.add(name)
        if name not in self.elsewhere:
            self.elsewhere[name] = claim
            self.watch.elsewhere(name)

    def settled(self, job: Job) -> State | None:
        """The state of a job that another sweep has run to its end, which then no longer waits; else None."""
        self.elsewhere.pop(job.name, None)
        state = self.folder.state(job)
        if state in ENDED or (state in TRIED and self.before[job.name] not in TRIED):
            del self.waiting[job.name]
            self.watch.ended(job.name, state, self.folder.how_it_ended(job.name)["error"], None)
            return state
        self.watch.waits(job.name)
        return None
