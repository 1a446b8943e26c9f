"""A run of which another process writes the folder: this one computes its part of everything."""

from torch import Tensor

from gan_cli.runs.run import Run
from gan_cli.runs.sink import Record
from gan_cli.shapes import Labels, Stored


class Silent(Run):
    """A run that computes what it would, and writes and draws nothing."""

    def save(self) -> None:
        pass

    def save_averages(self) -> None:
        pass

    def draw(self, fake: Stored, labels: Labels) -> None:
        pass

    def draw_confusion(self, counts: Tensor) -> None:
        pass


class Follower(Silent):
    """All processes of a run but the first, which tells them what it has recorded."""

    def open(self, records: list[Record]) -> None:
        pass

    def finish(self, status: str, error: str) -> None:
        pass
