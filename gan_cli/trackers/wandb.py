"""Weights & Biases; its own variable WANDB_MODE=offline needs no account: all is written into the run's folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_cli.trackers.tracker import Tracked, Tracker, outcome


@dataclass(kw_only=True)
class WandB(Tracker):
    package = "wandb"
    project: str
    entity: str | None
    run: Any = field(init=False, repr=False)

    def start(self, run: Tracked) -> None:
        import wandb

        self.run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=run.id,
            name=run.name,
            group=run.group,
            config=dict(run.config),
            dir=str(run.folder),
            resume="allow",
            settings=wandb.Settings(console="off", save_code=False),
        )
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")  # its own step would refuse a second record of one step

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log({"step": step, **values})

    def log_image(self, step: int, name: str, picture: Path) -> None:
        import wandb

        self.run.log({"step": step, name: wandb.Image(str(picture))})

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.run.summary.update(outcome(summary))
        self.run.finish(exit_code=0 if summary["status"] in ("completed", "interrupted") else 1)
