"""A sweep's folder: its runs, the state of each, and which folder a command continues."""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import SoftFileLease, Timeout

from gan_cli.config.nodes import as_before
from gan_cli.config.overrides import key_of
from gan_cli.errors import CheckpointError, UserError, one_line
from gan_cli.files import atomic, read_json, write_json
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.signals import STOPPING
from gan_cli.runs.sink import Record
from gan_cli.sweep.options import SWEEPING
from gan_cli.text import printable

if TYPE_CHECKING:  # at run time where it is used: pydantic takes a tenth of a second
    from gan_cli.sweep.formats import Content, Ending, Entry, Kind, Tuned

State = Literal["completed", "diverged", "collapsed", "failed", "stopped", "interrupted", "unfinished", "waiting"]
Point = list[str]  # overrides, as gan-train takes them
ENDED: tuple[State, ...] = ("completed", "diverged", "collapsed")  # results that a repeated run would give again
NOT_OF_A_JOB = {"run_dir", *SWEEPING}
SECONDS_OF_LEASE = 300.0  # another machine may see a file's change a minute late (NFS)
SECONDS_TO_BEGIN = 30.0
CLAIM = ".claim"


@dataclass(frozen=True)
class Job:
    """One run: `name` is its folder's name, `point` its overrides, `config` the resolved config.

    `published` has scores by metric that others report for this setting, and `source` says where. With `pause_at` the
    run is to pause after that step. `tuned` says how its learning rates were chosen.
    """

    name: str
    point: Point
    config: dict[str, Any]
    published: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    pause_at: int | None = None
    tuned: "Tuned | None" = None


class SweepFolder:
    """`sweep.json`, and a folder for each run; docs/sweeps.md describes each file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "sweep.json"
        self.logs = path / "logs"
        self.claims = path / "claims"

    @contextmanager
    def entered(self, *, shares: bool) -> Iterator[None]:
        """Keeps other sweeps out, but for those that share the jobs, if this one `shares` them, too.

        The process that holds it may enter again.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.claims.mkdir(exist_ok=True)
            self.stay()
        except OSError as error:
            raise UserError(f"sweep_dir={printable(self.path)} cannot be a folder: {one_line(error)}") from error
        if not self.presence.is_locked and not (shares and self.is_shared()):
            other = "which" if shares else "and this one"
            raise UserError(
                f"{printable(self.path)} belongs to a sweep that is still running, {other} shares its jobs with no "
                "other: wait for it, or give another sweep_dir"
            )
        try:
            yield
        finally:
            self.leave()

    @property
    def presence(self) -> SoftFileLease:
        """The lease of a sweep that runs here; of several that share their jobs, one of them has it."""
        return own_lease((self.path / ".running").absolute())

    def stay(self) -> None:
        """Takes the lease if no other sweep has it."""
        if not self.presence.is_locked:
            with suppress(Timeout):
                self.presence.acquire()

    def is_shared(self) -> bool:
        """Whether the sweep that runs here shares its jobs; one that begins is about to say so."""
        end = time.monotonic() + SECONDS_TO_BEGIN
        while "shares" not in self.read() and time.monotonic() < end:
            time.sleep(0.2)
        return bool(self.read().get("shares"))

    def leave(self) -> None:
        if self.presence.is_locked:
            self.presence.release()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Inside, no other sweep changes sweep.json."""
        self.path.mkdir(parents=True, exist_ok=True)
        with lease(self.path / ".writing", timeout=2 * SECONDS_OF_LEASE):
            yield

    @property
    def busy(self) -> bool:
        """Whether a sweep runs here."""
        if self.presence.is_locked:
            return True
        try:
            with self.presence:
                return False
        except (OSError, Timeout):
            return True

    def claim(self, name: str) -> Path:
        """The file whose lease has who runs this job."""
        return self.claims / f"{name}{CLAIM}"

    def claimed(self) -> set[str]:
        """The jobs that a process runs, or has run until it died."""
        return {path.name.removesuffix(CLAIM) for path in self.claims.glob(f"*{CLAIM}")}

    @property
    def missing(self) -> bool:
        """Whether there is no sweep.json; a broken link is one that is damaged."""
        return not os.path.lexists(self.file)

    def read(self) -> "Content":
        """The content of sweep.json; without one, what the runs' own files say.

        Raises UserError for a file that cannot be read or is damaged.
        """
        from gan_cli.sweep.formats import MOST_BYTES, Content

        if self.missing:
            return {"jobs": self.rebuilt()}
        try:
            return read_json(self.file, Content, MOST_BYTES)
        except (OSError, ValueError) as error:
            raise UserError(
                f"sweep.json is damaged: {one_line(error)}; nothing was changed: move {printable(self.file)} away, and "
                "the command that made the sweep rebuilds it from the runs"
            ) from error

    def rebuilt(self) -> "dict[str, Entry]":
        """The jobs of the run folders, from each run's summary or newest checkpoint."""
        found: dict[str, Entry] = {}
        for path in self.run_folders():
            config, overrides = started_with(RunFolder(path))
            if config and path.name.endswith(fingerprint(config)):
                point = [override for override in overrides if key_of(override) not in NOT_OF_A_JOB]
                found[path.name] = {"overrides": point, "config": config}  # type: ignore[typeddict-item]
        return found

    def run_folders(self) -> list[Path]:
        return sorted(folder.parent for folder in self.path.glob("*/checkpoints"))

    def write(self, content: Mapping[str, Any]) -> None:
        """A line for each job; raises UserError for what could not be read again."""
        from gan_cli.sweep.formats import MOST_BYTES

        facts = [f"{json.dumps(key)}: {dumped(value)}" for key, value in content.items() if key != "jobs"]
        jobs = [f"  {json.dumps(name)}: {dumped(entry)}" for name, entry in content["jobs"].items()]
        listed = '"jobs": {\n' + ",\n".join(jobs) + "\n}"
        try:
            text = ("{\n" + ",\n".join([*facts, listed]) + "\n}\n").encode()
        except UnicodeEncodeError as error:
            raise UserError("an override is not Unicode text: rename the file that it names") from error
        if len(text) > MOST_BYTES:
            raise UserError(f"{self.file} would have more than {MOST_BYTES:,} bytes: give another sweep_dir")
        with atomic(self.file) as partial:
            partial.write_bytes(text)

    def add(self, jobs: Iterable[Job], **facts: Any) -> None:
        """Adds jobs that are about to run."""
        with self.writing():
            content: dict[str, Any] = dict(self.read()) | facts
            for job in jobs:
                known = content["jobs"].get(job.name, {})
                content["jobs"][job.name] = known | {"overrides": job.point, "config": job.config, "exit_code": None}
            self.write(content)

    def quote(self, jobs: Iterable[Job]) -> None:
        """Records the published scores and the tuning of known jobs, also of jobs that have already ended."""
        with self.writing():
            content = self.read()
            for job in jobs:
                if job.published and job.name in content["jobs"]:
                    content["jobs"][job.name] |= {"published": dict(job.published), "source": job.source}
                if job.tuned is not None and job.name in content["jobs"]:
                    content["jobs"][job.name]["tuned"] = job.tuned
            self.write(content)

    def begin(self, name: str) -> None:
        """Forgets how the job ended before: its process is about to start."""
        self.ending(name).unlink(missing_ok=True)

    def ended(self, name: str, exit_code: int, error: str) -> None:
        """Records the ending of a job's process in a file of its own, whose size does not grow with the sweep."""
        self.logs.mkdir(exist_ok=True)
        write_json(self.ending(name), {"exit_code": exit_code, "error": error})

    def stop(self, job: Job, step: int) -> None:
        """Records that a race has stopped the job at its rung of this step."""
        self.logs.mkdir(exist_ok=True)
        why = f"stopped at step {step} of {job.config['steps']} by the race"
        write_json(self.ending(job.name), {"exit_code": 0, "error": why, "stopped": step})

    def ending(self, name: str) -> Path:
        return self.logs / f"{name}.json"

    def how_it_ended(self, name: str) -> "Ending":
        """How the job's process ended; no exit code if it has not, or if nothing is known of it."""
        from gan_cli.sweep.formats import Ending

        try:
            return read_json(self.ending(name), Ending)
        except (OSError, ValueError):
            return {"exit_code": None, "error": ""}

    def run(self, name: str) -> RunFolder:
        return RunFolder(self.path / name)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def named(self, jobs: Iterable[Job]) -> list[Job]:
        """The jobs, with the names that the same configs already have in this folder."""
        known = {name.rsplit("-", 1)[-1]: name for name in self.read()["jobs"]}
        return [replace(job, name=known.get(job.name.rsplit("-", 1)[-1], job.name)) for job in jobs]

    def states(self, jobs: Iterable[Job]) -> dict[str, State]:
        """The state of each job, by name."""
        return {job.name: self.state(job) for job in jobs}

    def state(self, job: Job) -> State:
        run = self.run(job.name)
        return state_of(run, run.summary(), self.how_it_ended(job.name))


def lease(path: Path, timeout: float = 0.0) -> SoftFileLease:
    """A lease that is free once its holder's process is gone, or after 5 minutes without a sign of its machine.

    It is a file that only one process can create, which holds on network file systems, and it is timed by the clock of
    whoever waits for it.
    """
    return SoftFileLease(path, lease_duration=SECONDS_OF_LEASE, timeout=timeout)


@cache
def own_lease(path: Path) -> SoftFileLease:
    """This process's lease, which it may acquire several times."""
    return lease(path)


def dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def fingerprint(config: Mapping[str, Any]) -> str:
    """Eight digits that tell configs, or kinds of sweeps, apart."""
    return hashlib.sha256(json.dumps(as_before(config), sort_keys=True).encode()).hexdigest()[:8]


def started_with(run: RunFolder) -> tuple[dict[str, Any], list[str]]:
    """The config and the overrides of a run, as its own files tell; empty if they do not."""
    from gan_cli.runs.checkpoint import newest  # here: it imports torch

    summary = run.summary()
    if summary is not None and "config" in summary and "overrides" in summary:
        return summary["config"], summary["overrides"]
    try:
        found = newest(run.path)
    except CheckpointError as error:
        warnings.warn(one_line(error), stacklevel=1)
        return {}, []
    return (found.config, found.overrides) if found is not None else ({}, [])


def state_of(run: RunFolder, summary: Record | None, ending: "Ending") -> State:
    """The state in the run's summary, or, if its process ended before it wrote one, from the exit code."""
    if summary is not None and summary["status"] in ENDED:
        return summary["status"]
    if "stopped" in ending:
        return "stopped"
    exit_code = ending["exit_code"]
    stopped = {number for signal_number in STOPPING for number in (128 + signal_number, -signal_number)}
    if exit_code not in {None, 0, *stopped}:
        return "failed"
    if summary is not None:
        return summary["status"]
    return "unfinished" if run.checkpoints.is_dir() else "waiting"


def newest_of_kind(sweeps: Path, kind: "Kind") -> SweepFolder | None:
    """The newest sweep of this kind that no process is running.

    A folder without sweep.json is known by its name. Raises UserError if the sweep.json of a folder of this kind is
    damaged; that of another folder is named in a warning.
    """
    for path in sorted(sweeps.glob("*/*/"), reverse=True):
        folder, named = SweepFolder(path), f"-{fingerprint(kind)}-" in path.name
        if folder.missing:
            if named and folder.run_folders() and not folder.busy:
                return folder
            continue
        try:
            known = folder.read().get("kind")
        except UserError as error:
            if named:
                raise
            warnings.warn(f"not continued: {error}", stacklevel=1)
            continue
        if known == kind and not folder.busy:
            return folder
    return None
