"""gan-sweep's sweeper and launcher, as Hydra plugins; every command imports this file, so it imports no torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from gan_cli.sweep.running import Machines
    from gan_cli.sweep.sweep_folder import SweepFolder


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
        ours = self.launcher if isinstance(self.launcher, LocalLauncher) else None
        sweep(self.config, self.params, arguments, self.hydra_context.config_loader, self.launcher, ours, self.command)


class LocalLauncher(Launcher):
    """Runs each job as a separate process on one of this machine's device slots."""

    local = True

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.command: list[str] = getattr(task_function, "command", [])

    def machines(self, folder: "SweepFolder") -> "Machines | None":
        """Where else the jobs run; None on this machine. Raises UserError for machines that cannot be used."""
        return None

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from gan_cli.sweep.sweep import launch_jobs

        return launch_jobs(self.config, job_overrides, self.hydra_context.config_loader, self.machines, self.command)


class SlurmLauncher(LocalLauncher):
    """Runs each job as a job of SLURM; `settings` are those of its YAML."""

    local = False

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def machines(self, folder: "SweepFolder") -> "Machines":
        from gan_cli.sweep.slurm import Slurm

        return Slurm(folder, self.settings, self.config)


class RayLauncher(LocalLauncher):
    """Runs each job as a task of Ray; `settings` are those of its YAML."""

    local = False

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def machines(self, folder: "SweepFolder") -> "Machines":
        from gan_cli.sweep.ray_tasks import Ray

        return Ray(folder, self.settings, self.config)
