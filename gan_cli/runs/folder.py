"""A run's folder: its files, its lock and its records."""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gan_cli.errors import UserError
from gan_cli.files import atomic, slug, sweep_partial, write_json
from gan_cli.runs.sink import Record, Sink

SECONDS_BETWEEN_ACTIVITIES = 1.0


class RunFolder(Sink):
    """Paths and records of one run; docs/run-folder.md describes each file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.metrics = path / "metrics.jsonl"
        self.activity_file = path / ".activity"
        self.next_activity = 0.0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                f"{self.path} is being written by another process: wait for it, or use another run_dir"
            ) from error
        try:
            yield
        finally:
            lock.release()

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
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def working(self, what: str) -> None:
        """Writes the current work to a file, for a sweep's table."""
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
        self.working("")
        write_json(self.path / "summary.json", summary)

    def records(self) -> list[Record]:
        """All records before the first incomplete one, which a crash may have left."""
        return whole_records(self.metrics.read_bytes() if self.metrics.exists() else b"")

    def rewind(self, step: int, concluded: bool = True) -> None:
        """Removes incomplete files, and everything recorded after `step`, which will be trained again.

        Scores of a step that is not `concluded` are removed, too: they are computed again.
        """
        for folder in (self.checkpoints, self.samples):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.checkpoints):
            sweep_partial(folder)
        last = step if concluded else step - 1
        known = (record for record in self.records() if record["step"] <= (last if "metrics" in record else step))
        kept = [json.dumps(record) + "\n" for record in known]
        with atomic(self.metrics) as partial:
            partial.write_text("".join(kept), encoding="utf-8")
        for sample in self.samples.glob("*.png"):
            if sample.stem.isdecimal() and int(sample.stem) > step:
                sample.unlink()
        for file in (self.path / "summary.json", self.activity_file):
            file.unlink(missing_ok=True)

    def summary(self) -> Record | None:
        try:
            summary = json.loads((self.path / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = isinstance(summary, dict) and {"status", "step", "metrics", "protocol", "cost"} <= set(summary)
        return summary if whole else None


def whole_records(content: bytes) -> list[Record]:
    """The records in (a part of) metrics.jsonl, up to the first line that is not a record."""
    records = []
    for line in content.decode(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            break
        records.append(record)
    return records


def fresh(outputs: Path, short_name: str) -> Path:
    """outputs/<date>/<time>-<short name>-<unique>, which does not exist yet."""
    now = datetime.now()
    return outputs / now.strftime("%Y-%m-%d") / f"{now.strftime('%H-%M-%S')}-{slug(short_name)}-{secrets.token_hex(3)}"


def create(outputs: Path, short_name: str) -> Path:
    path = fresh(outputs, short_name)
    path.mkdir(parents=True)
    return path
