"""What a run recorded, as far as curves and claims need it."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gan_cli.leaderboard.statistics import is_number
from gan_cli.runs.formats import MOST_LINE_BYTES, MOST_NAMES, read_record
from gan_cli.runs.sink import Record

NUM_INTERVALS = 200  # of a run, in each of which its losses are averaged
MOST_PLAYERS = 16


@dataclass
class Series:
    """What a run recorded, as far as curves need it: a run of 200,000 lines takes 20 MB, not 300.

    `seconds` of training by step; `scores` by metric and step; `losses` by player and interval: their sum, the sum of
    their steps, and their number. `latest` are the last record's losses and norms of gradients, such as
    `loss.discriminator` and `gradient_norm.generator`. `damaged` is the number of the line that is no record, from
    which on nothing is read; None without one.
    """

    width: int  # of an interval, in steps
    seconds: dict[int, float] = field(default_factory=dict)
    scores: dict[str, dict[int, float]] = field(default_factory=dict)
    losses: dict[str, dict[int, tuple[float, int, int]]] = field(default_factory=dict)
    latest: dict[str, float] = field(default_factory=dict)
    damaged: int | None = None

    def add(self, record: Record) -> None:
        """Numbers that are not finite, and names beyond the number that is sensible, are left out."""
        step = record["step"]
        if "seconds" in record:
            self.seconds[step] = record["seconds"]
        for metric, score in record.get("metrics", {}).items():
            if is_number(score) and (metric in self.scores or len(self.scores) < MOST_NAMES):
                self.scores.setdefault(metric, {})[step] = score
        for player, terms in record.get("losses", {}).items():
            total = sum(terms.values())
            if is_number(total) and (player in self.losses or len(self.losses) < MOST_PLAYERS):
                intervals = self.losses.setdefault(player, {})
                known, steps, count = intervals.get(step // self.width, (0.0, 0, 0))
                intervals[step // self.width] = (known + total, steps + step, count + 1)
                self.latest[f"loss.{player}"] = total
        for player, norm in record.get("gradient_norms", {}).items():
            if player in self.losses:
                self.latest[f"gradient_norm.{player}"] = norm


def width_for(steps: int) -> int:
    """Of the intervals of a run of so many steps."""
    return max(1, steps // NUM_INTERVALS)


def read_series(file: Path, width: int) -> Series:
    """The records of metrics.jsonl up to the first that is damaged; a running or killed run may leave half a line."""
    found = Series(width)
    for number, line in enumerate(lines(file), 1):
        record = read_record(line)
        if record is None:
            if line.endswith(b"\n") or len(line) >= MOST_LINE_BYTES:
                found.damaged = number
            break
        found.add(record)
    return found


def lines(file: Path) -> Iterator[bytes]:
    """The lines of a regular file, the last perhaps without its end; none if it cannot be read."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return
        with file.open("rb") as opened:
            while line := opened.readline(MOST_LINE_BYTES):
                yield line
    except OSError:
        return
