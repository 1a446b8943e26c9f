"""What each console script does once its config is composed."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

from gan_cli import revisit, start
from gan_cli.leaderboard import report
from gan_cli.sweep import sweep

COMMANDS: dict[str, Callable[[DictConfig], Any]] = {
    "train": start.train,
    "eval": revisit.evaluate,
    "sample": revisit.sample,
    "sweep": sweep.run_job,
    "report": report.report,
}
