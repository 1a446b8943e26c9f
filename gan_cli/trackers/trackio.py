"""Trackio (Hugging Face): a local database, or the Space that its own variable TRACKIO_SPACE_ID names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_cli.trackers.tracker import Tracked, Tracker, outcome


@dataclass(kw_only=True)
class Trackio(Tracker):
    package = "trackio"
    project: str
    run: Any = field(init=False, repr=False)

    def start(self, run: Tracked) -> None:
        import trackio

        self.run = trackio.init(
            project=self.project,
            name=run.id,  # its runs are known by their names
            group=run.group,
            config=dict(run.config),
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def log_image(self, step: int, name: str, picture: Path) -> None:
        import trackio

        self.run.log({name: trackio.Image(picture)}, step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.run.log(outcome(summary), step=summary["step"])
        self.run.finish()
