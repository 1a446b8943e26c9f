"""Jobs of a sweep as tasks of Ray, on a cluster that is there or on this machine."""

import importlib.util
import logging
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filelock import SoftFileLease
from omegaconf import DictConfig, OmegaConf

from gan_cli.config.plain import read_plain
from gan_cli.errors import UserError, one_line
from gan_cli.sweep.processes import remote_job, searched
from gan_cli.sweep.remote import RemoteJob, run_remote
from gan_cli.sweep.running import Machines, Running
from gan_cli.sweep.sweep_folder import Job, SweepFolder

SECONDS_TO_ANSWER = 10.0
SETTINGS: dict[str, Any] = {
    "address": str | None,
    "num_gpus": float | None,
    "num_cpus": float,
    "max_restarts": int,
    "max_jobs": int,
}


@dataclass
class Task(Running):
    """A task that Ray runs or has queued; it is started again as often as `restarts` says if its worker is lost."""

    remote: RemoteJob
    machines: "Ray"
    restarts: int
    asked: bool = False

    def __post_init__(self) -> None:
        self.reference = self.machines.task.remote(self.remote, False)

    def has_ended(self) -> bool:
        import ray
        from ray.exceptions import RayError, RayTaskError, TaskCancelledError

        if not ray.wait([self.reference], timeout=0)[0]:
            return False
        error = None
        try:
            ray.get(self.reference)
        except RayError as raised:
            error = raised
        lost = error is not None and not isinstance(error, (RayTaskError, TaskCancelledError))
        if lost and self.restarts and not self.asked:
            self.restarts -= 1
            self.reference = self.machines.task.remote(self.remote, True)
            return False
        folder, name = self.machines.folder, self.job.name
        if error is not None and folder.how_it_ended(name)["exit_code"] is None:
            code = 128 + signal.SIGTERM if self.asked else 1
            folder.ended(name, code, "" if self.asked else f"Ray: {one_line(error)}")
        self.machines.num_running -= 1
        return True

    def stop(self, number: int) -> None:
        import ray

        self.asked = True
        ray.cancel(self.reference)

    def kill(self) -> None:
        import ray

        ray.cancel(self.reference, force=True)


def check_answers(address: str | None) -> None:
    """Raises OSError or ValueError for a host and port where nobody listens: Ray itself would wait for minutes."""
    if address is not None and ":" in address:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()


class Ray(Machines):
    """A Ray cluster that this machine belongs to, or Ray on this machine alone, which ends with the sweep."""

    def __init__(self, folder: SweepFolder, given: Mapping[str, Any], config: DictConfig) -> None:
        settings = read_plain(OmegaConf.create(dict(given)), SETTINGS, "")
        if importlib.util.find_spec("ray") is None:
            raise UserError("hydra/launcher=ray needs Ray: pip install 'gan-cli[ray]'")
        import ray

        self.folder, self.searched = folder, searched(config)
        self.restarts, self.most_queued, self.num_running = settings["max_restarts"], settings["max_jobs"], 0
        gpus = settings["num_gpus"]
        self.num_gpus = gpus if gpus is not None else 0.0 if config.device == "cpu" else 1.0
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_worker_niceness", "0")  # of a Ray that is started here; its own choice is 15
            try:
                check_answers(settings["address"])
                ray.init(address=settings["address"] or "local", log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"hydra.launcher.address={settings['address']} is not Ray ({one_line(error)}): start one with "
                    "ray start --head, or give hydra.launcher.address=null, for this machine alone"
                ) from error
        there = ray.cluster_resources()
        for key, wanted, name in (("GPU", self.num_gpus, "num_gpus"), ("CPU", settings["num_cpus"], "num_cpus")):
            if wanted > there.get(key, 0):
                raise UserError(
                    f"hydra.launcher.{name}={wanted:g} for each job, but this Ray has {there.get(key, 0):g}: give fewer"
                    + (", or device=cpu" if key == "GPU" else "")
                )
        options = {"num_cpus": settings["num_cpus"], "num_gpus": self.num_gpus, "max_retries": 0}
        self.task: Any = ray.remote(run_remote).options(**options)
        self.described = f"by Ray, with {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs"

    def has_room(self) -> bool:
        return self.num_running < self.most_queued

    def start(self, job: Job, claim: SoftFileLease) -> tuple[Task, str]:
        claim.release()
        self.num_running += 1
        remote = remote_job(RemoteJob, job, self.folder, self.searched, on_gpu=self.num_gpus > 0)
        return Task(job, remote, self, self.restarts), "Ray"
