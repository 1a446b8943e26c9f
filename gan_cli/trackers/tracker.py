"""What a tracker is told of a run, and the base class of trackers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gan_cli.ranges import Ranged


@dataclass(frozen=True)
class Tracked:
    """A run that is tracked: its folder, which has its name, an id that no other run has, and its sweep's name."""

    folder: Path
    id: str
    group: str | None
    config: Mapping[str, Any]
    resumed: bool  # it has been tracked before, under this id

    @property
    def name(self) -> str:
        return self.folder.name


class Tracker(Ranged, ABC):
    """Shows a run elsewhere. Settings come from its YAML; `start` is called once, before everything else.

    Every method may raise: the tracker is then left out, with a warning, and the run goes on. Nothing is told twice,
    also if the run is killed and continued.
    """

    package: ClassVar[str] = ""  # what it imports, and what pip installs

    @abstractmethod
    def start(self, run: Tracked) -> None:
        """Begins to track a run, or goes on with one that is `resumed`."""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers after a step, by names such as `losses/generator/adversarial` and `metrics/fid`."""

    @abstractmethod
    def log_image(self, step: int, name: str, picture: Path) -> None:
        """A PNG: generated images after a step, from the same latents at every step."""

    @abstractmethod
    def finish(self, summary: Mapping[str, Any]) -> None:
        """The run has ended, in any way; `summary` is what summary.json holds."""


def flat(values: Mapping[str, Any], path: str = "", separator: str = "/") -> Iterator[tuple[str, Any]]:
    """Every value that is not a mapping, named by its keys: losses/generator/adversarial."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{key}{separator}", separator)
        else:
            yield f"{path}{key}", value


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in it, named by their keys."""
    return {name: float(value) for name, value in flat(values) if isinstance(value, int | float)}


def outcome(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary's status, its last, best and floor scores, and its cost: `status`, `best/fid`, `cost/seconds`."""
    scores = {key: summary["metrics"][key] for key in ("last", "best", "floor")}
    return dict(flat({key: summary[key] for key in ("status", "step", "error")} | scores | {"cost": summary["cost"]}))
