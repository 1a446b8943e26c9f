"""What a run says on stderr while it trains: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from gan_cli.runs.sink import Reading, Record, Sink

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BEFORE_A_WORD = 2.0  # of work besides training: shorter work needs none


class BarAndReading(Bar):
    """The bar, and under it what was read last: together they would not fit into 80 columns."""

    reading = working = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.working or self.reading)


class Progress(Sink):
    """A context, and a sink: one line that moves while the run trains, and a line that stays for each score."""

    def __init__(self, total: int, first_step: int) -> None:
        self.console = Console(stderr=True)
        self.total = total
        self.printed = 0.0
        self.working_since: float | None = None
        self.bar = BarAndReading(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.console,
            disable=not self.console.is_terminal,
            expand=True,
        )
        self.task = self.bar.add_task("training", total=total, completed=first_step, speed="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def advanced(self, reading: Reading) -> None:
        speed = f"{reading.images_per_second:,.0f} images/s"
        text = "  ".join(
            [f"loss {player[0].upper()} {loss:.3f}" for player, loss in reading.losses.items()]
            + [f"score {side} {score:.2f}" for side, score in reading.scores.items()]
        )
        self.bar.reading = text
        self.bar.update(self.task, completed=reading.step, speed=speed)
        if self.is_due() or (reading.step == self.total and not self.console.is_terminal):
            self.note(f"step {reading.step}/{self.total}  {speed}  {text}")

    def recorded(self, record: Record) -> None:
        if "metrics" in record:
            shown = "  ".join(f"{k} {v:.4g}" for k, v in record["metrics"].items() if not k.endswith("_std"))
            self.note(f"step {record['step']}/{self.total}  {shown}")

    def working(self, what: str) -> None:
        self.bar.working = what
        self.bar.refresh()
        if not what:
            self.working_since = None
        elif self.working_since is None:
            self.working_since = time.monotonic()
        elif time.monotonic() - self.working_since > SECONDS_BEFORE_A_WORD and self.is_due():
            self.note(what)

    def is_due(self) -> bool:
        """Whether it is time for another plain line, where there is no terminal."""
        now = time.monotonic()
        if self.console.is_terminal or now - self.printed <= SECONDS_BETWEEN_LINES:
            return False
        self.printed = now
        return True

    def note(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
