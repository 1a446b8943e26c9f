"""TensorBoard: event files in the run's folder; `tensorboard --logdir outputs` shows all runs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan_cli.trackers.tracker import Tracked, Tracker


@dataclass(kw_only=True)
class TensorBoard(Tracker):
    package = "tensorboard"
    writer: Any = field(init=False, repr=False)

    def start(self, run: Tracked) -> None:
        from torch.utils.tensorboard import SummaryWriter  # here: it takes seconds

        self.writer = SummaryWriter(log_dir=str(run.folder / "tensorboard"))
        if not run.resumed:
            self.add_json("config", run.config, 0)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()  # the run may be killed before its next step

    def log_image(self, step: int, name: str, picture: Path) -> None:
        with Image.open(picture, formats=["PNG"]) as image:
            self.writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
        self.writer.flush()

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.add_json("summary", {key: value for key, value in summary.items() if key != "config"}, summary["step"])
        self.writer.close()

    def add_json(self, name: str, content: Mapping[str, Any], step: int) -> None:
        lines = json.dumps(content, indent=2).splitlines()
        self.writer.add_text(name, "\n".join(f"    {line}" for line in lines), step)  # in Markdown: a block of code
