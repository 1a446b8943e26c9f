import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_cli.trackers import Tracked, Tracker


@dataclass(kw_only=True)
class Table(Tracker):
    """Every number of every run in one CSV file, for a spreadsheet or pandas: run, step, name, value."""

    path: str
    run: str = field(init=False)

    def start(self, run: Tracked) -> None:
        self.run = run.name

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.add((self.run, step, name, value) for name, value in values.items())

    def log_image(self, step: int, name: str, picture: Path) -> None:
        self.add([(self.run, step, name, picture)])

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.add([(self.run, summary["step"], "status", summary["status"])])

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
