"""What a run's folder says of itself: every file that gan-verify compares, read, and found to fit the others."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_cli.config.nodes import difference
from gan_cli.errors import CheckpointError, DifferenceError, UserError, one_line
from gan_cli.runs import checkpoint
from gan_cli.runs.checkpoint import Checkpoint, name_of, open_checkpoint
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.formats import read_record, read_summary
from gan_cli.runs.replay import kind_of
from gan_cli.runs.sink import Record


@dataclass(frozen=True)
class Stated:
    """What a run's folder says of itself; the checkpoints are those that are kept, the oldest first."""

    folder: RunFolder
    summary: Record | None
    records: list[Record]
    sessions: list[dict[str, Any]]
    checkpoints: list[Checkpoint]

    @property
    def newest(self) -> Checkpoint:
        return self.checkpoints[-1]

    @property
    def last_step(self) -> int:
        """Of a checkpoint or a record."""
        return max([self.newest.step, *(record["step"] for record in self.records)])

    @property
    def status(self) -> str:
        return "unfinished" if self.summary is None else str(self.summary["status"])


def read_stated(folder: RunFolder) -> Stated:
    """Reads every file that is compared; raises DifferenceError if they do not fit each other."""
    path = folder.path
    found = []
    for kept in checkpoint.complete(folder.checkpoints):
        try:
            found.append(open_checkpoint(kept))
        except CheckpointError as error:
            raise DifferenceError(one_line(error)) from error
        if name_of(found[-1].step) != kept.name:
            raise DifferenceError(f"{kept} is a checkpoint of step {found[-1].step}")
    if not found:
        raise UserError(f"{path} has no checkpoint: nothing of it can be verified")
    summary = None
    if (path / "summary.json").exists():
        try:
            read_summary(path)
            summary = json.loads((path / "summary.json").read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise DifferenceError(f"summary.json cannot be read: {one_line(error)}") from error
    config = found[-1].config if summary is None else summary.get("config", found[-1].config)
    for one in found:
        expected = config if one is found[-1] else config | {"steps": one.config.get("steps")}  # it may have gone on
        if changes := difference(expected, one.config):
            name = found[-1].folder.name if summary is None else "summary.json"
            raise DifferenceError(f"{one.folder.name} is of a run with another config than {name}: {changes}")
    records = read_records(folder, found)
    stated = Stated(folder, summary, records, folder.sessions.all(), found)
    check_steps(stated)
    return stated


def read_records(folder: RunFolder, found: Sequence[Checkpoint]) -> list[Record]:
    """The records, which have to be those that the checkpoints vouch for; the last line may be torn."""
    content = folder.metrics.read_bytes() if folder.metrics.is_file() else b""
    known = 0
    for one in found:
        vouched = content[: one.records["bytes"]]
        if hashlib.sha256(vouched).hexdigest() != one.records["sha256"]:
            first, last = (content[:size].count(b"\n") for size in (known, one.records["bytes"]))
            raise DifferenceError(
                f"metrics.jsonl: one of the lines {first + 1} to {last} was changed after {one.folder.name} was written"
                if len(vouched) == one.records["bytes"]
                else f"metrics.jsonl has {len(content):,} bytes, and had {one.records['bytes']:,} at {one.folder.name}"
            )
        known = one.records["bytes"]
    lines_of = content.splitlines()
    records = []
    for number, line in enumerate(lines_of, 1):
        record = read_record(line)
        if record is None and number < len(lines_of):
            raise DifferenceError(f"metrics.jsonl: line {number} is not a record")
        if record is not None:
            records.append(record)
    return records


def check_steps(stated: Stated) -> None:
    """Records are in order, each once; a completed run has none behind its last checkpoint."""
    seen: set[tuple[int, str]] = set()
    before = 0
    for record in stated.records:
        step, kind = record["step"], kind_of(record)
        if step < before or (step, kind) in seen:
            raise DifferenceError(f"metrics.jsonl has the {kind} of step {step} twice, or out of order")
        before = step
        seen.add((step, kind))
    if stated.status == "completed" and stated.last_step > stated.newest.step:
        raise DifferenceError(
            f"summary.json says completed, and there are records up to step {stated.last_step}, behind the last "
            f"checkpoint, {stated.newest.folder.name}"
        )


def why_unscored(stated: Stated) -> str | None:
    """Why the run has no scores; None if it has some."""
    if any("metrics" in record for record in stated.records):
        return None
    unavailable = (stated.summary or {}).get("metrics", {}).get("unavailable")
    return None if unavailable is None else str(unavailable)
