"""What a report has read of runs, kept for the next report of the same folders, which reads only what has changed."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from gan_cli import __version__
from gan_cli.files import atomic, cache_folder
from gan_cli.leaderboard.series import Series, read_series
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.formats import read_summary
from gan_cli.runs.sink import Record

FORM = 1  # of what is kept: another one whenever Summary or Series changes
YOUNG = 3.0  # seconds: a file that has just been written may change again, and its time may stay the same
FEWEST = 50  # files; fewer are read at once
Kept = tuple[bytes, bytes]  # the state of a file, and what was read of it, as JSON


class Cache:
    """Summaries and series of runs, each of a file in a certain state: its size, time of change and inode.

    It is in the user's own cache: what it holds was checked when it was read of a run, and is checked against damage
    here. Without a path nothing is kept.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.before: dict[str, Kept] = {} if path is None else loaded(path)
        self.now: dict[str, Kept] = {}
        self.changed = False

    def summary(self, run: RunFolder) -> Record:
        """The run's summary; raises what `read_summary` does."""
        return self.recall(run.path / "summary.json", "", lambda: dict(read_summary(run.path)))

    def series(self, run: RunFolder, width: int) -> Series:
        """The run's records, in intervals of so many steps."""
        return as_series(self.recall(run.metrics, str(width), lambda: plain(read_series(run.metrics, width))))

    def recall(self, file: Path, how: str, read: Callable[[], Any]) -> Any:
        """What was read of the file in the same state, and in the same way; else what `read` returns now."""
        name, state = os.path.abspath(file), state_of(file, how)
        known = self.before.get(name)
        if known is not None and known[0] == state:
            self.now[name] = known
            return from_json(known[1])
        found = read()
        if self.path is not None and state is not None:
            self.now[name] = (state, json.dumps(found).encode())
            self.changed = True
        return found

    def save(self) -> None:
        """Keeps what was read of these runs, now or before; a cache that cannot be written costs only time."""
        if self.path is None or not self.changed or len(self.now) < FEWEST:
            return
        runs = {os.path.dirname(name) for name in self.now}
        kept = {name: known for name, known in self.before.items() if os.path.dirname(name) in runs} | self.now
        lines = [b"\t".join((json.dumps(name).encode(), *known)) for name, known in kept.items()]
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic(self.path) as partial, partial.open("wb") as file:
                file.writelines([head(lines), *(line + b"\n" for line in lines)])


def cache_of(folders: Iterable[Path]) -> Cache:
    """The cache of the reports of these folders."""
    named = "\n".join(sorted(os.path.realpath(folder) for folder in folders))
    return Cache(cache_folder() / "reports" / f"{hashlib.sha256(os.fsencode(named)).hexdigest()[:32]}.jsonl")


def loaded(path: Path) -> dict[str, Kept]:
    """What was kept; nothing if the file is damaged, or of another version."""
    try:
        first, *lines = path.read_bytes().splitlines()
        if first + b"\n" != head(lines):
            return {}
        parts = [line.split(b"\t") for line in lines]
        return {json.loads(name): (state, held) for name, state, held in parts}
    except (OSError, ValueError):
        return {}


def head(lines: Iterable[bytes]) -> bytes:
    """The first line: of which version the others are, and their digest."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line + b"\n")
    return f"{__version__} {FORM} {digest.hexdigest()}\n".encode()


def state_of(file: Path, how: str) -> bytes | None:
    """Size, time of change and inode, and how the file is read; None for one that is not there or has just changed."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    if status.st_mtime_ns > (time.time() - YOUNG) * 1e9:
        return None
    return json.dumps([status.st_size, status.st_mtime_ns, status.st_ino, how]).encode()


def plain(series: Series) -> dict[str, Any]:
    """The series with lists of pairs in place of mappings from numbers, which JSON does not have."""
    return vars(series) | {
        "seconds": list(series.seconds.items()),
        "scores": {metric: list(scores.items()) for metric, scores in series.scores.items()},
        "losses": {player: list(intervals.items()) for player, intervals in series.losses.items()},
    }


def as_series(held: dict[str, Any]) -> Series:
    losses = {player: {interval: tuple(sums) for interval, sums in pairs} for player, pairs in held["losses"].items()}
    scores = {metric: dict(pairs) for metric, pairs in held["scores"].items()}
    return Series(**held | {"seconds": dict(held["seconds"]), "scores": scores, "losses": losses})
