"""Jobs as separate processes on this machine's device slots; how each ends is recorded."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from filelock import SoftFileLease
from omegaconf import DictConfig

from gan_cli.config.hints import config_folders
from gan_cli.config.overrides import key_of, quoted
from gan_cli.engine import choose_device, num_devices
from gan_cli.sweep.remote import RemoteJob, conclude, program, usable_cores
from gan_cli.sweep.running import Machines, Running
from gan_cli.sweep.sweep_folder import Job, SweepFolder

Remote = TypeVar("Remote", bound=RemoteJob)


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time: the environment that restricts its process to a device, and its own cores."""

    device: str
    environment: Mapping[str, str]
    cores: frozenset[int]


@dataclass
class Process(Running):
    """A job's process on this machine."""

    slot: Slot
    process: "subprocess.Popen[bytes]"
    claim: SoftFileLease
    folder: SweepFolder
    free: list[Slot]  # where its slot goes when it has ended
    asked: bool = False

    def has_ended(self) -> bool:
        if self.process.poll() is None:
            if self.claim.compromise is not None and not self.asked:  # another machine may run it now
                self.stop(signal.SIGTERM)
            return False
        if self.claim.compromise is None:
            conclude(self.folder, self.job.name, self.process.returncode)
        self.claim.release()
        self.free.append(self.slot)
        return True

    def stop(self, number: int) -> None:
        self.asked = True
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.claim.release()


@dataclass
class Local(Machines):
    """This machine, whose slots have a job each."""

    folder: SweepFolder
    free: list[Slot]
    searched: Sequence[str]

    def __post_init__(self) -> None:
        self.most = len(self.free)
        self.described = f"{self.most} at a time, {self.free[0].environment['OMP_NUM_THREADS']} threads each"

    def has_room(self) -> bool:
        return bool(self.free)

    def start(self, job: Job, claim: SoftFileLease) -> tuple[Process, str]:
        """Starts the job in a new session: Ctrl-C reaches only the sweep, which stops its jobs itself."""
        slot = self.free.pop(0)
        with self.folder.log(job.name).open("ab") as log, on_cores(slot.cores):
            process = subprocess.Popen(
                [*program(), *arguments(job, self.folder, self.searched)],
                env=os.environ | slot.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Process(job, slot, process, claim, self.folder, self.free), slot.device


def device_slots(device: str, per_device: int | None, num_jobs: int) -> list[Slot]:
    """`per_device` slots on each GPU (default one), or on the CPU (default one per core); cores are divided.

    Raises UserError for a device that this machine lacks.
    """
    kind = choose_device(device)
    cores = usable_cores()
    if kind.type == "cuda":
        listed = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        visible = [name for name in listed if name] or [str(number) for number in range(num_devices())]
        names = visible if kind.index is None else [visible[kind.index]]
        places = [name for _ in range(per_device or 1) for name in names]  # each device once before any twice
        devices = [(f"GPU {name}", {"CUDA_VISIBLE_DEVICES": name}) for name in places]
    else:
        devices = [(kind.type.upper(), {}) for _ in range(per_device or (len(cores) if kind.type == "cpu" else 1))]
    used = devices[: max(1, num_jobs)]
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, len(cores) // len(used)))
    return [
        Slot(name, environment | {"OMP_NUM_THREADS": threads}, share(cores, number, len(used)))
        for number, (name, environment) in enumerate(used)
    ]


def share(cores: Sequence[int], number: int, count: int) -> frozenset[int]:
    """The cores of one of `count` slots, its own if there are enough."""
    if count > len(cores):
        return frozenset([cores[number % len(cores)]])
    return frozenset(cores[number * len(cores) // count : (number + 1) * len(cores) // count])


@contextmanager
def on_cores(cores: Set[int]) -> Iterator[None]:
    """Inside, new processes run on these cores alone, where the system can say so: threads then do not move about."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def searched(config: DictConfig) -> list[str]:
    """What else a job needs of the sweep's command line: where its configs are."""
    return [override for override in config.hydra.overrides.hydra if key_of(override) == "hydra.searchpath"]


def arguments(job: Job, folder: SweepFolder, searched: Sequence[str]) -> list[str]:
    """The job's command line of gan-train, in its own folder.

    Its slot shows it only one GPU; `device=auto` finds it, and `cuda:1` would not exist.
    """
    kept = [o for o in job.point if key_of(o) != "run_dir" and not o.startswith("device=cuda")]
    directories = [part for directory in config_folders()[1:] for part in ("--config-dir", str(directory))]
    pause = [] if job.pause_at is None else [f"pause_at={job.pause_at}"]
    return [*directories, *kept, *searched, *pause, f"run_dir={quoted(folder.path.absolute() / job.name)}"]


def remote_job(kind: type[Remote], job: Job, folder: SweepFolder, searched: Sequence[str], *, on_gpu: bool) -> Remote:
    """The job as it is sent; `on_gpu` it is refused by a machine that hides its GPU, in place of a run on the CPU."""
    given = arguments(job, folder, searched)
    if on_gpu:
        given = [*(word for word in given if key_of(word) != "device"), "device=cuda"]
    return kind(str(folder.path.absolute()), job.name, given, os.getcwd())
