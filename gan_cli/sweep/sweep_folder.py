"""A sweep's folder: its runs, the state of each, and which folder a command continues."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from gan_cli.errors import UserError
from gan_cli.files import write_json
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.signals import STOPPING

State = Literal["completed", "diverged", "failed", "interrupted", "unfinished", "waiting"]
Point = list[str]  # overrides, as gan-train takes them
ENDED: tuple[State, ...] = ("completed", "diverged")  # results that a repeated run would give again


@dataclass(frozen=True)
class Job:
    """One run: `name` is its folder's name, `point` its overrides, `config` the resolved config.

    `published` has scores by metric that others report for this setting, and `source` says where.
    """

    name: str
    point: Point
    config: dict[str, Any]
    published: Mapping[str, float] = field(default_factory=dict)
    source: str = ""


class SweepFolder:
    """`sweep.json`, and a folder for each run; docs/sweeps.md describes each file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "sweep.json"
        self.logs = path / "logs"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other sweeps out; the process that holds it may enter again."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0, is_singleton=True)
            lock.acquire()
        except OSError as error:
            if isinstance(error, Timeout):
                raise UserError(
                    f"{self.path} belongs to a sweep that is still running: wait for it, or give another sweep_dir"
                ) from error
            raise UserError(f"sweep_dir={self.path} cannot be a folder: {error}") from error
        try:
            yield
        finally:
            lock.release()

    @property
    def busy(self) -> bool:
        try:
            with self.locked():
                return False
        except UserError:
            return True

    def read(self) -> dict[str, Any]:
        """`kind`, `picture`, `baseline`, and by name its `jobs`: `overrides`, `config`, `exit_code`, `error`,
        and if others have published scores of that setting, `published` and `source`.

        Empty if it is not a sweep's folder.
        """
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) and isinstance(content.get("jobs"), dict) else {}

    def add(self, jobs: Iterable[Job], **facts: Any) -> None:
        """Adds jobs that are about to run, and removes how they ended before."""
        content = {"jobs": {}} | self.read() | facts
        for job in jobs:
            known = content["jobs"].get(job.name, {})
            new = {"overrides": job.point, "config": job.config, "exit_code": None, "error": ""}
            content["jobs"][job.name] = known | new
        write_json(self.file, content)

    def quote(self, jobs: Iterable[Job]) -> None:
        """Records the published scores of known jobs, also of jobs that have already ended."""
        content = self.read()
        for job in jobs:
            if job.published and job.name in content["jobs"]:
                content["jobs"][job.name] |= {"published": dict(job.published), "source": job.source}
        write_json(self.file, content)

    def ended(self, name: str, exit_code: int, error: str) -> None:
        content = self.read()
        content["jobs"][name] |= {"exit_code": exit_code, "error": error}
        write_json(self.file, content)

    def run(self, name: str) -> RunFolder:
        return RunFolder(self.path / name)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def named(self, jobs: Iterable[Job]) -> list[Job]:
        """The jobs, with the names that the same configs already have in this folder."""
        known = {name.rsplit("-", 1)[-1]: name for name in self.read().get("jobs", {})}
        return [replace(job, name=known.get(job.name.rsplit("-", 1)[-1], job.name)) for job in jobs]

    def states(self, jobs: Iterable[Job]) -> dict[str, State]:
        """The state of each job, by name."""
        known = self.read().get("jobs", {})
        return {job.name: state_of(self.run(job.name), known.get(job.name, {}).get("exit_code")) for job in jobs}

    def state(self, job: Job) -> State:
        return self.states([job])[job.name]


def state_of(run: RunFolder, exit_code: int | None) -> State:
    """The state in the run's summary, or, if its process ended before it wrote one, from the exit code."""
    summary = run.summary()
    if summary is not None and summary["status"] in ENDED:
        return summary["status"]
    stopped = {number for signal_number in STOPPING for number in (128 + signal_number, -signal_number)}
    if exit_code not in {None, 0, *stopped}:
        return "failed"
    if summary is not None:
        return summary["status"]
    return "unfinished" if run.checkpoints.is_dir() else "waiting"


def newest_of_kind(sweeps: Path, kind: Mapping[str, Any]) -> SweepFolder | None:
    """The newest sweep of this kind that no process is running."""
    folders = (SweepFolder(file.parent) for file in sorted(sweeps.glob("*/*/sweep.json"), reverse=True))
    return next((folder for folder in folders if folder.read().get("kind") == kind and not folder.busy), None)
