"""What a run says on stderr while it trains: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """A context; `update` is cheap to call, `note` prints a line that stays."""

    def __init__(self, total: int, first_step: int) -> None:
        self.console = Console(stderr=True)
        self.total = total
        self.printed = 0.0
        self.bar = Bar(
            TextColumn("training"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[reading]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            expand=True,
        )
        self.task = self.bar.add_task("training", total=total, completed=first_step, reading="")

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
        reading = "  ".join(
            [f"{images_per_second:,.0f} images/s"]
            + [f"loss {player[0].upper()} {loss:.3f}" for player, loss in losses.items()]
            + [f"score {side} {score:.2f}" for side, score in scores.items()]
        )
        self.bar.update(self.task, completed=step, reading=reading)
        now = time.monotonic()
        if not self.console.is_terminal and (now - self.printed > SECONDS_BETWEEN_LINES or step == self.total):
            self.printed = now
            self.note(f"step {step}/{self.total}  {reading}")

    def note(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
