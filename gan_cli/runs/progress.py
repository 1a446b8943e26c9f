"""Progress on stderr while a run trains or long work is done: live on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.spinner import Spinner
from rich.text import Text

from gan_cli.runs.sink import Reading, Record, Sink
from gan_cli.work import listening

SECONDS_BETWEEN_LINES = 5.0
SECONDS_UNSEEN = 2.0  # shorter work is not shown


class BarAndReading(Bar):
    """The bar, and below it the last reading: one line of 80 columns is too short for both."""

    reading = working = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.working or self.reading)


class Progress(Sink):
    """A context, and a sink: a live line while the run trains, and a permanent line for each score."""

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
        elif time.monotonic() - self.working_since > SECONDS_UNSEEN and self.is_due():
            self.note(what)

    def is_due(self) -> bool:
        """Whether another plain line is due, without a terminal."""
        now = time.monotonic()
        if self.console.is_terminal or now - self.printed <= SECONDS_BETWEEN_LINES:
            return False
        self.printed = now
        return True

    def note(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def showing_work() -> Iterator[None]:
    """Inside, long work is shown; for commands, and parts of them, without a run's own progress."""
    line = WorkLine()
    try:
        with listening(line.show):
            yield
    finally:
        line.show("")


class WorkLine:
    """A listener, silent for 2 seconds; then one line in place on a terminal, elsewhere a line every 5 seconds."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.spinner = Spinner("dots")
        self.live: Live | None = None
        self.began: float | None = None
        self.printed = float("-inf")

    def show(self, text: str) -> None:
        now = time.monotonic()
        if not text:
            self.began = None
            if self.live is not None:
                self.live.stop()
                self.live = None
            return
        if self.began is None:
            self.began = now
        if now - self.began < SECONDS_UNSEEN:
            return
        if self.console.is_terminal:
            self.spinner.update(text=Text(text))
            if self.live is None:  # stdout is for results only
                self.live = Live(self.spinner, console=self.console, transient=True, redirect_stdout=False)
                self.live.start()
        elif now - self.printed >= SECONDS_BETWEEN_LINES:
            self.printed = now
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)
