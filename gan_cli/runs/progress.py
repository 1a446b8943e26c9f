"""What is said on stderr while a run trains, or long work is done: live on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.spinner import Spinner
from rich.text import Text

from gan_cli.work import listening

SECONDS_BETWEEN_LINES = 5.0
SECONDS_UNSEEN = 2.0  # work that ends before is not shown


class BarAndReading(Bar):
    """The bar, and under it what was read last: together they would not fit into 80 columns."""

    reading = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.reading)


class Progress:
    """A context; `update` is cheap to call, `note` prints a line that stays."""

    def __init__(self, total: int, first_step: int) -> None:
        self.console = Console(stderr=True)
        self.total = total
        self.printed = 0.0
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

    def update(
        self, step: int, images_per_second: float, losses: Mapping[str, float], scores: Mapping[str, float]
    ) -> None:
        """`losses` by player, penalties included, and mean `scores` of real and fake images."""
        speed = f"{images_per_second:,.0f} images/s"
        reading = "  ".join(
            [f"loss {player[0].upper()} {loss:.3f}" for player, loss in losses.items()]
            + [f"score {side} {score:.2f}" for side, score in scores.items()]
        )
        self.bar.reading = reading
        self.bar.update(self.task, completed=step, speed=speed)
        now = time.monotonic()
        if not self.console.is_terminal and (now - self.printed > SECONDS_BETWEEN_LINES or step == self.total):
            self.printed = now
            self.note(f"step {step}/{self.total}  {speed}  {reading}")

    def note(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def showing_work() -> Iterator[None]:
    """Inside, long work is shown; for commands, and parts of them, that no run's own progress is shown for."""
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
            if self.live is None:  # results go to stdout, wherever this line is shown
                self.live = Live(self.spinner, console=self.console, transient=True, redirect_stdout=False)
                self.live.start()
        elif now - self.printed >= SECONDS_BETWEEN_LINES:
            self.printed = now
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)
