"""A run's folder: its files, its lock and its records."""

import hashlib
import json
import os
import secrets
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gan_cli.errors import EndError, UserError, one_line
from gan_cli.files import Hashed, atomic, slug, sweep_partial, sync, write_json
from gan_cli.runs.sessions import Sessions
from gan_cli.runs.sink import Record, Sink

SECONDS_BETWEEN_ACTIVITIES = 1.0


class RunFolder(Sink):
    """Paths and records of one run; docs/run-folder.md describes each file."""

    vital = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock_file = path / ".lock"
        self.lock_identity: tuple[int, int] | None = None
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.averages = path / "averages"
        self.metrics = path / "metrics.jsonl"
        self.sessions = Sessions(path / "sessions.jsonl")
        self.curves = path / "curves.png"
        self.nearest = path / "nearest.png"
        self.confusion = path / "confusion.png"
        self.diagnosis = path / "diagnosis.png"
        self.activity_file = path / ".activity"
        self.next_activity = 0.0
        self.recorded_bytes, self.recorded_sha256 = 0, hashlib.sha256()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out."""
        lock = FileLock(self.lock_file, timeout=0)
        try:
            lock.acquire()
            self.lock_identity = identity(self.lock_file)
        except Timeout as error:
            raise UserError(
                f"{self.path} is being written by another process: wait for it, or use another run_dir"
            ) from error
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {one_line(error)}") from error
        try:
            yield
        finally:
            self.lock_identity = None
            lock.release()

    @property
    def busy(self) -> bool:
        """Whether a process writes here."""
        if not self.lock_file.exists():
            return False
        try:
            with FileLock(self.lock_file, timeout=0):
                return False
        except Timeout:
            return True

    def check_lock(self) -> None:
        """Raises EndError if the lock file has been removed or replaced: another process may write here."""
        if self.lock_identity is not None and identity(self.lock_file) != self.lock_identity:
            raise EndError(
                f"{self.lock_file} was removed while the run was writing, so another process may write here too: "
                f"nothing more is written; when no other process does, continue with: gan-train resume={self.path}"
            )

    def start(self, composed: str, overrides: list[str]) -> None:
        """Writes the config and the overrides into .hydra/."""
        (self.path / ".hydra").mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("config", composed),
            ("overrides", "".join(f"- {json.dumps(item)}\n" for item in overrides)),
        ):
            with atomic(self.path / ".hydra" / f"{name}.yaml") as partial:
                partial.write_text(text, encoding="utf-8")

    def recorded(self, record: Record) -> None:
        self.check_lock()
        line = (json.dumps(record) + "\n").encode()
        with self.metrics.open("ab") as file:
            file.write(line)
        self.recorded_bytes += len(line)
        self.recorded_sha256.update(line)

    def vouched(self) -> Hashed:
        """Waits until all records are on disk; returns what a checkpoint says of them."""
        self.check_lock()
        if self.metrics.exists():
            sync(self.metrics)
        return {"sha256": self.recorded_sha256.hexdigest(), "bytes": self.recorded_bytes}

    def working(self, what: str) -> None:
        """Writes the current work to a file, for a sweep's table; a disk that is full does not end the work."""
        with suppress(OSError):
            if not what:
                self.activity_file.unlink(missing_ok=True)
                self.next_activity = 0.0
            elif time.monotonic() >= self.next_activity:
                self.next_activity = time.monotonic() + SECONDS_BETWEEN_ACTIVITIES
                self.activity_file.write_text(what + "\n", encoding="utf-8")

    def activity(self) -> str:
        """The run's current work besides training; empty if there is none."""
        try:
            return self.activity_file.read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def finished(self, summary: Record) -> None:
        self.check_lock()
        self.working("")
        write_json(self.path / "summary.json", summary)

    def records(self) -> list[Record]:
        """All records before the first incomplete one, which a crash may have left."""
        return whole_records(self.metrics.read_bytes() if self.metrics.is_file() else b"")

    def rewind(self, step: int, concluded: bool, vouched: Hashed | None) -> None:
        """Removes incomplete files, and everything recorded after `step`, which will be trained again.

        Scores of a step that is not `concluded` are removed, too: they are computed again. Records that are not those
        that the checkpoint has `vouched` for are kept beside those that can still be read, with a warning.
        """
        for folder in (self.checkpoints, self.samples):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.path / ".hydra", self.checkpoints, self.samples):
            sweep_partial(folder)
        if vouched is not None:
            self.keep_damaged(vouched)
        last = step if concluded else step - 1
        known = (record for record in self.records() if record["step"] <= (last if "metrics" in record else step))
        kept = "".join(json.dumps(record) + "\n" for record in known).encode()
        with atomic(self.metrics) as partial:
            partial.write_bytes(kept)
        self.recorded_bytes, self.recorded_sha256 = len(kept), hashlib.sha256(kept)
        for sample in self.samples.glob("*.png"):
            if sample.stem.isdecimal() and int(sample.stem) > step:
                sample.unlink()
        for file in (self.path / "summary.json", self.diagnosis, self.activity_file):
            file.unlink(missing_ok=True)

    def keep_damaged(self, vouched: Hashed) -> None:
        """Copies metrics.jsonl beside itself, with a warning, if it does not begin with what was `vouched` for."""
        content = self.metrics.read_bytes() if self.metrics.exists() else b""
        if hashlib.sha256(content[: vouched["bytes"]]).hexdigest() == vouched["sha256"]:
            return
        kept = ""
        if content:
            copy = self.path / f"metrics.damaged-{secrets.token_hex(3)}.jsonl"
            with atomic(copy) as partial:
                partial.write_bytes(content)
            kept = f"; it is kept as {copy.name}"
        warnings.warn(
            f"{self.metrics} is not what the checkpoint's run has written{kept}: records may be missing", stacklevel=2
        )

    def summary(self) -> Record | None:
        """The content of summary.json; None if there is none, or if it is damaged: the run has not ended."""
        from gan_cli.runs.formats import read_summary  # here: pydantic takes a tenth of a second

        try:
            return dict(read_summary(self.path))
        except (OSError, ValueError):
            return None


def whole_records(content: bytes) -> list[Record]:
    """The records in (a part of) metrics.jsonl, up to the first line that is not a record."""
    from gan_cli.runs.formats import read_record

    records = []
    for line in content.splitlines():
        record = read_record(line)
        if record is None:
            break
        records.append(record)
    return records


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode; None if there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def fresh(outputs: Path, short_name: str) -> Path:
    """outputs/<date>/<time>-<short name>-<unique>, which does not exist yet."""
    now = datetime.now()
    return outputs / now.strftime("%Y-%m-%d") / f"{now.strftime('%H-%M-%S')}-{slug(short_name)}-{secrets.token_hex(3)}"


def create(outputs: Path, short_name: str) -> Path:
    path = fresh(outputs, short_name)
    path.mkdir(parents=True)
    return path
