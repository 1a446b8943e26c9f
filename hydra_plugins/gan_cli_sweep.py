"""gan-sweep's sweeper and launcher, as Hydra plugins; every command imports this file, so it imports no torch."""

from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(Sweeper):
    """The union of a study's grids, or the command line's own; `params` are overrides of every job."""

    def __init__(self, params: dict[str, str]) -> None:
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.command: list[str] = getattr(task_function, "command", [])
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from gan_cli.sweep.sweep import sweep

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        loader, local = self.hydra_context.config_loader, isinstance(self.launcher, LocalLauncher)
        sweep(self.config, self.params, arguments, loader, self.launcher, self.command, local=local)


class LocalLauncher(Launcher):
    """Runs each job as a separate process on one of this machine's device slots."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.command: list[str] = getattr(task_function, "command", [])

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from gan_cli.sweep.sweep import launch_locally

        return launch_locally(self.config, job_overrides, self.hydra_context.config_loader, self.command)
