"""A sweep's progress on stderr: a live table on a terminal, otherwise a line for each job that ends."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gan_cli.runs.folder import RunFolder, whole_records
from gan_cli.runs.sink import Record
from gan_cli.sweep.sweep_folder import Job, State, SweepFolder
from gan_cli.text import printable

SECONDS_BETWEEN_READINGS = 1.0
MOST_OF_LOG = 2000  # bytes: a longer line than is shown
STYLES = {"running": "bold", "completed": "green", "failed": "bold red", "diverged": "red", "collapsed": "red"}
ORDER = ("running", "failed", "diverged", "collapsed", "waiting", "interrupted", "paused", "completed")


@dataclass
class Line:
    """One job's row; `read` bytes of its records have been read."""

    name: str
    total: int
    run: RunFolder
    log: Path
    state: str = "waiting"
    pauses: bool = False  # after its `total` steps
    device: str = ""
    read: int = 0
    losses: Record = field(default_factory=dict)
    metrics: Record = field(default_factory=dict)
    step: int = 0
    activity: str = ""  # its current work besides training

    def read_new(self) -> None:
        """Reads the job's new records, and what it does now."""
        self.read_records()
        self.activity = printable(self.run.activity() or ("" if self.read else last_line(self.log)))

    def read_records(self) -> None:
        """An incomplete line is read the next time."""
        try:
            with self.run.metrics.open("rb") as file:
                if file.seek(0, 2) < self.read:  # the run was continued: its records have been written again
                    self.read = 0
                file.seek(self.read)
                new = file.read()
        except OSError:
            return
        whole, newline, _ = new.rpartition(b"\n")
        self.read += len(whole) + len(newline)
        for record in whole_records(whole):
            self.step = record["step"]
            self.losses = record.get("losses", self.losses)
            self.metrics = record.get("metrics", self.metrics)

    @property
    def score(self) -> str:
        """The last evaluation's leading metric, which is first in a record."""
        key = next(iter(self.metrics), "")
        return f"{printable(key)} {self.metrics[key]:.4g}" if key else ""

    @property
    def left(self) -> float:
        """The fraction of the job that is not done yet."""
        return 0.0 if self.state not in ("waiting", "running") else 1 - self.step / self.total


def last_line(log: Path) -> str:
    """The last line of a job's log, or its end if it is long; empty without one."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - MOST_OF_LOG))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return printable(next((line for line in reversed(lines) if line.strip()), ""))


class Watch:
    """A context around the jobs; `refresh` is cheap to call."""

    def __init__(self, jobs: Sequence[Job], folder: SweepFolder, num_slots: int) -> None:
        self.console = Console(stderr=True)
        self.lines = {
            job.name: Line(
                job.name,
                job.pause_at or job.config["steps"],
                folder.run(job.name),
                folder.log(job.name),
                pauses=job.pause_at is not None,
            )
            for job in jobs
        }
        rungs = dict.fromkeys(f"step {job.pause_at} of {job.config['steps']}" for job in jobs if job.pause_at)
        self.goal = f"to the rung at {', '.join(rungs)}" if rungs else ""
        self.num_slots = num_slots
        self.looked = 0.0
        self.durations: list[float] = []
        self.live = Live(console=self.console, get_renderable=self.table, auto_refresh=False, transient=True)

    def __enter__(self) -> "Watch":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def started(self, name: str, device: str) -> None:
        self.lines[name].state, self.lines[name].device = "running", device
        if not self.console.is_terminal:
            self.note(f"started  {name}  on {device}")

    def elsewhere(self, name: str) -> None:
        """Another sweep runs the job."""
        self.lines[name].state, self.lines[name].device = "running", "elsewhere"

    def waits(self, name: str) -> None:
        self.lines[name].state = "waiting"

    def ended(self, name: str, state: State, reason: str, seconds: float | None) -> None:
        """Of a job that another sweep has run, no seconds are known."""
        line = self.lines[name]
        line.read_new()
        paused = state == "interrupted" and line.pauses and line.step >= line.total
        done = state == "completed" or paused
        line.state = "paused" if paused else state
        if done and seconds is not None:
            self.durations.append(seconds)
        counted = sum(one.state not in ("waiting", "running") for one in self.lines.values())
        what = line.score if done else reason
        shown = line.state if state != "failed" else "FAILED"
        how = "elsewhere" if seconds is None else f"{seconds:.0f} s"
        text = f"[{counted}/{len(self.lines)}] {shown}  {name}  {what}  {how}"
        self.note(f"{text}  {self.estimate()}".rstrip())

    def estimate(self) -> str:
        """The remaining time: the steps that are left, at the speed of the jobs that are done, on all known slots."""
        left = sum(line.left for line in self.lines.values())
        if not self.durations or not left or not self.num_slots:
            return ""
        seconds = left * sum(self.durations) / len(self.durations) / self.num_slots
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"

    def refresh(self) -> None:
        if self.console.is_terminal and time.monotonic() - self.looked > SECONDS_BETWEEN_READINGS:
            for line in self.lines.values():
                if line.state == "running":
                    line.read_new()
            self.live.refresh()
            self.looked = time.monotonic()

    def note(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def table(self) -> RenderableType:
        """As many jobs as fit the screen, running ones first; below them the number in each state."""
        table = Table(box=None, expand=True, pad_edge=False)
        table.add_column("job", no_wrap=True, ratio=1)
        players = list(dict.fromkeys(player for line in self.lines.values() for player in line.losses))
        for column in ("state", "step", *(f"loss {printable(player)[:1].upper()}" for player in players), "score"):
            table.add_column(
                Text(column), justify="right" if column.startswith(("step", "loss")) else "left", no_wrap=True
            )
        shown = sorted(
            self.lines.values(), key=lambda line: ORDER.index(line.state) if line.state in ORDER else len(ORDER)
        )
        for line in shown[: max(3, self.console.height - 4)]:
            losses = [line.losses.get(player) for player in players]
            running = line.state == "running"
            table.add_row(
                Text(line.name),
                Text(
                    f"{line.state} {line.device}".strip() if running else line.state,
                    STYLES.get(line.state, ""),
                ),
                f"{line.step}/{line.total}",
                *("" if terms is None else f"{sum(terms.values()):.3f}" for terms in losses),
                Text(line.activity, "dim") if running and line.activity else Text(line.score),
            )
        counts = Counter(line.state for line in self.lines.values())
        totals = ", ".join(f"{count} {state}" for state, count in counts.items())
        told = "   ".join(filter(None, [totals, self.goal, self.estimate()]))
        return Group(table, Text(told, "dim"))
