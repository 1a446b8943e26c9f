"""What a run says on stderr while it trains: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

SECONDS_BETWEEN_LINES = 5.0


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
