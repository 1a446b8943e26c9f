"""Jobs of a sweep as jobs of SLURM: submitit writes their batch scripts and puts them into the queue again."""

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import SoftFileLease
from omegaconf import DictConfig, OmegaConf

from gan_cli.config.plain import read_plain
from gan_cli.errors import EndError, UserError, one_line
from gan_cli.files import slug
from gan_cli.sweep.processes import remote_job, searched
from gan_cli.sweep.remote import SlurmJob
from gan_cli.sweep.running import Machines, Running
from gan_cli.sweep.sweep_folder import Job, SweepFolder

SETTINGS: dict[str, Any] = {
    "partition": str | None,
    "account": str | None,
    "qos": str | None,
    "constraint": str | None,
    "timeout_min": int,
    "max_num_timeout": int,
    "signal_delay_s": int,
    "gpus_per_node": int | None,
    "cpus_per_task": int | None,
    "mem_gb": float | None,
    "max_jobs": int,
    "setup": list[str],
    "additional_parameters": dict[str, Any],
}
OF_SUBMITIT = ("partition", "account", "qos", "constraint", "signal_delay_s", "cpus_per_task")  # under the same name
PROGRAMS = ("sbatch", "srun", "squeue", "scancel")
SECONDS_BETWEEN_LOOKS = 5.0  # at the queue
SECONDS_TO_ANSWER = 10.0
SECONDS_UNSEEN = 60.0  # a file that another machine has written may be seen so much later (NFS)
ALIVE = (
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "SUSPENDED", "STOPPED"),
    *("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"),
)


@dataclass
class Queued(Running):
    """A job in SLURM's queue, or one that has left it."""

    number: str
    machines: "Slurm"
    asked: bool = False
    gone: float | None = None  # when it was first seen to be gone without a trace

    def has_ended(self) -> bool:
        state = self.machines.queue().get(self.number, "")
        if state in ALIVE:
            return False
        folder, name = self.machines.folder, self.job.name
        if folder.how_it_ended(name)["exit_code"] is None and state != "COMPLETED":
            self.gone = self.gone or time.monotonic()
            if time.monotonic() < self.gone + SECONDS_UNSEEN * (not self.asked):
                return False
            code = 128 + signal.SIGTERM if self.asked else 1
            folder.ended(name, code, f"SLURM job {self.number}: {state or 'no longer in the queue'}")
        self.machines.running.discard(self.number)
        return True

    def stop(self, number: int) -> None:
        self.asked = True
        asked("scancel", self.number)

    def kill(self) -> None:
        self.machines.running.discard(self.number)


class Slurm(Machines):
    """SLURM's queue, as the commands of this machine show it; all jobs of a sweep have one name."""

    def __init__(self, folder: SweepFolder, given: Mapping[str, Any], config: DictConfig) -> None:
        settings = read_plain(OmegaConf.create(dict(given)), SETTINGS, "")
        if importlib.util.find_spec("submitit") is None:
            raise UserError("hydra/launcher=submitit_slurm needs submitit: pip install 'gan-cli[submitit]'")
        for name, least in (("timeout_min", 1), ("max_num_timeout", 0), ("signal_delay_s", 1), ("max_jobs", 1)):
            if settings[name] < least:
                raise UserError(f"hydra.launcher.{name}={settings[name]} must be at least {least}")
        absent = [name for name in PROGRAMS if shutil.which(name) is None]
        if absent:
            raise UserError(
                f"hydra/launcher=submitit_slurm needs SLURM's {absent[0]}, which is not here: run it where jobs are "
                "submitted"
            )
        self.folder, self.searched, self.settings = folder, searched(config), settings
        if settings["gpus_per_node"] is None:
            self.settings["gpus_per_node"] = 0 if config.device == "cpu" else 1
        self.name = f"gan-{slug(folder.path.absolute().name)}"
        self.most_queued = settings["max_jobs"]
        self.described = f"by SLURM, at most {self.most_queued} in the queue"
        self.goes_on = f"the jobs go on in SLURM (scancel --name={self.name} ends them)"
        self.running: set[str] = set()
        self.seen: tuple[float, dict[str, str]] = (-SECONDS_BETWEEN_LOOKS, {})

    @cached_property
    def executor(self) -> Any:
        """Raises EndError for settings that submitit refuses."""
        from submitit import SlurmExecutor

        given = self.settings
        chosen = {key: given[key] for key in OF_SUBMITIT if given[key] is not None}
        if given["gpus_per_node"]:
            chosen["gpus_per_node"] = given["gpus_per_node"]
        if given["cpus_per_task"] is not None:  # srun does not take it over since SLURM 22.05
            chosen["srun_args"] = [f"--cpus-per-task={given['cpus_per_task']}"]
        if given["mem_gb"] is not None:
            chosen["mem"] = f"{round(1024 * given['mem_gb'])}M"
        executor = SlurmExecutor(folder=self.folder.logs.absolute() / "slurm", max_num_timeout=given["max_num_timeout"])
        executor.update_parameters(
            job_name=self.name,
            time=given["timeout_min"],
            setup=given["setup"],
            stderr_to_stdout=True,
            additional_parameters={"requeue": True} | given["additional_parameters"],
            **chosen,
        )
        return executor

    def has_room(self) -> bool:
        return len(self.running) < self.most_queued

    def start(self, job: Job, claim: SoftFileLease) -> tuple[Queued, str]:
        """Submits the job, unless it is in the queue already, where an earlier command has put it."""
        claim.release()
        known = self.submitted(job.name)
        number = known.read_text().strip() if known.is_file() else ""
        if self.queue().get(number) not in ALIVE:
            number = self.submit(job)
            known.write_text(f"{number}\n")
        self.running.add(number)
        return Queued(job, number, self), f"SLURM, job {number}"

    def submit(self, job: Job) -> str:
        """Raises EndError if SLURM refuses it."""
        on_gpu = self.settings["gpus_per_node"] > 0
        task = remote_job(SlurmJob, job, self.folder, self.searched, on_gpu=on_gpu)
        try:
            number: str = self.executor.submit(task).job_id
        except Exception as error:
            told = getattr(error, "stderr", None) or one_line(error)
            limit = "those in its queue go on; hydra.launcher.max_jobs limits their number"
            raise EndError(f"SLURM refuses a job: {told}; {limit}") from error
        now, known = self.seen
        self.seen = now, known | {number: "PENDING"}
        return number

    def submitted(self, name: str) -> Path:
        return self.folder.logs / f"{name}.slurm"

    def queue(self) -> dict[str, str]:
        """The state of each job of this name, by its number; as it was seen before if SLURM does not answer."""
        looked, known = self.seen
        if time.monotonic() < looked + SECONDS_BETWEEN_LOOKS:
            return known
        lines = asked(
            *("squeue", "--noheader", "--states=all", f"--user={os.getuid()}", f"--name={self.name}"),
            "--format=%A %T",
        )
        found = known if lines is None else dict(line.split(maxsplit=1) for line in lines.splitlines())
        self.seen = time.monotonic(), found
        return found


def asked(*command: str) -> str | None:
    """What a command of SLURM says; None if it fails."""
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout if ended.returncode == 0 else None
