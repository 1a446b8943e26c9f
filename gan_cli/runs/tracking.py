"""What a run's trackers are told: every record and picture once, however often the run is stopped and continued."""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from gan_cli.config.nodes import Config
from gan_cli.files import read_json, remove, slug, write_json
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.origin import is_ours, signature
from gan_cli.runs.sink import Record, Sink
from gan_cli.trackers import Tracked, Tracker
from gan_cli.trackers.tracker import numbers
from gan_cli.work import in_background

LOSSES, PICTURE, METRICS = range(3)  # the order of what is told of one step
Position = tuple[int, int]  # a step, and which of these
NOTHING: Position = (-1, LOSSES)
MOST_OF_MARK = 100  # bytes
TRACKERS, CHOSEN = ".trackers", "chosen.json"  # a folder of the run's, and a file in it
SWEEP = "sweep.json"  # a sweep's folder has this file


class Chosen(TypedDict):
    """The trackers of a run and the id that they know it by, signed by the user who chose them."""

    id: str
    trackers: dict[str, Any]
    signature: str


class Tracking(Sink):
    """Passes on what one tracker has not been told yet; a file holds how far that is."""

    def __init__(self, name: str, tracker: Tracker, run: Tracked, samples: Path, mark: Path) -> None:
        self.name = f"tracker.{name}"
        self.tracker, self.run, self.samples, self.mark = tracker, run, samples, mark
        self.position = read_mark(mark)

    def began(self, records: Sequence[Record]) -> None:
        """Starts the tracker, and tells it what it has missed, in the order of the run."""
        in_background(f"starting {self.name}", self.tracker.start, self.run)
        missed = [(position_of(record), partial(self.recorded, record)) for record in records]
        for picture in self.samples.glob("*.png"):
            if picture.stem.isdecimal():
                step = int(picture.stem)
                missed.append(((step, PICTURE), partial(self.drawn, step, picture)))
        for _, tell in sorted(missed, key=lambda one: one[0]):
            tell()

    def recorded(self, record: Record) -> None:
        values = numbers({key: value for key, value in record.items() if key != "step"})
        self.tell(position_of(record), lambda: self.tracker.log(record["step"], values))

    def drawn(self, step: int, picture: Path) -> None:
        self.tell((step, PICTURE), lambda: self.tracker.log_image(step, "samples", picture))

    def finished(self, summary: Record) -> None:
        in_background(f"finishing {self.name}", self.tracker.finish, summary)

    def tell(self, position: Position, log: Callable[[], None]) -> None:
        if position > self.position:
            log()
            self.position = position
            write_mark(self.mark, position)


def position_of(record: Record) -> Position:
    return record["step"], METRICS if "metrics" in record else LOSSES


def read_mark(mark: Path) -> Position:
    """How far a tracker has been told; what no process of ours has written means nothing."""
    try:
        step, kind = map(int, mark.read_bytes()[:MOST_OF_MARK].split())
    except (OSError, ValueError):
        return NOTHING
    return step, kind


def write_mark(mark: Path, position: Position) -> None:
    """One call of the system, always as long: a killed process leaves the old mark or the new one."""
    descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.pwrite(descriptor, b"%020d %d\n" % position, 0)
    finally:
        os.close(descriptor)


def stored_trackers(path: Path) -> Chosen | None:
    """The trackers that this user has chosen for the run in the folder; None if there are none of this user's."""
    try:
        chosen: Chosen = read_json(path / TRACKERS / CHOSEN, Chosen)
    except (OSError, ValueError):
        return None
    return chosen if is_ours(signed_part(chosen), chosen["signature"]) else None


def signed_part(chosen: Mapping[str, Any]) -> Config:
    return {"id": chosen["id"], "trackers": chosen["trackers"]}


def follow(folder: RunFolder, nodes: Config, trackers: Mapping[str, Tracker], config: Config) -> list[Tracking]:
    """A sink for each tracker, and the choice of them in the run's folder, so that a resumed run has them again.

    What another user left there is removed: this user's trackers have been told nothing of the run.
    """
    path, place = folder.path.resolve(), folder.path / TRACKERS
    chosen = stored_trackers(folder.path)
    if chosen is None:
        if place.exists():
            remove(place)
        if not trackers:
            return []
        chosen = Chosen(id=f"{slug(path.name)}-{secrets.token_hex(4)}", trackers={}, signature="")
    if chosen["trackers"] != nodes:
        chosen = Chosen(id=chosen["id"], trackers=nodes, signature="")
        chosen["signature"] = signature(signed_part(chosen))
        place.mkdir(exist_ok=True)
        write_json(place / CHOSEN, chosen)
    group = path.parent.name if (path.parent / SWEEP).is_file() else None
    sinks = []
    for name, tracker in trackers.items():
        mark = place / f"{slug(name)}.mark"
        run = Tracked(path, chosen["id"], group, config, resumed=mark.exists())
        sinks.append(Tracking(name, tracker, run, folder.samples, mark))
    return sinks
