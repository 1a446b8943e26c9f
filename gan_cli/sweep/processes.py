"""Jobs as separate processes on device slots; how each ends is recorded."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass

from gan_cli.config.hints import config_folders
from gan_cli.config.overrides import key_of, quoted
from gan_cli.engine import choose_device, num_devices
from gan_cli.errors import InterruptedRunError
from gan_cli.runs.signals import stop_on_signal
from gan_cli.sweep.sweep_folder import Job, State, SweepFolder
from gan_cli.sweep.watch import Watch, last_line

SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time: the environment that restricts its process to a device, and its own cores."""

    device: str
    environment: Mapping[str, str]
    cores: frozenset[int]


@dataclass
class Running:
    job: Job
    slot: Slot
    process: "subprocess.Popen[bytes]"
    started: float


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


def usable_cores() -> list[int]:
    """The cores that this process may run on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


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


def command(job: Job, folder: SweepFolder, searched: Sequence[str]) -> list[str]:
    """gan-train with the job's overrides, in its own folder.

    Its slot shows it only one GPU; `device=auto` finds it, and `cuda:1` would not exist.
    """
    kept = [o for o in job.point if key_of(o) != "run_dir" and not o.startswith("device=cuda")]
    directories = [part for directory in config_folders()[1:] for part in ("--config-dir", str(directory))]
    pause = [] if job.pause_at is None else [f"pause_at={job.pause_at}"]
    python = [sys.executable, "-P", "-m", "gan_cli.cli", str(os.getpid())]
    return [*python, *directories, *kept, *searched, *pause, f"run_dir={quoted(folder.path.absolute() / job.name)}"]


def run_all(
    jobs: Sequence[Job],
    folder: SweepFolder,
    slots: Sequence[Slot],
    watch: Watch,
    *,
    fail_fast: bool,
    searched: Sequence[str],
) -> None:
    """Runs every job, as many at once as there are slots.

    A job that fails is named, and the others continue unless `fail_fast`. Raises InterruptedRunError after a signal has
    stopped them all.
    """
    waiting, running, free = deque(jobs), list[Running](), list(slots)
    failed = stopping = False
    folder.logs.mkdir(exist_ok=True)
    with stop_on_signal() as stop, watch:
        try:
            while waiting or running:
                if not stopping and (stop.signal or (failed and fail_fast)):
                    stopping = True
                    waiting.clear()
                    watch.note(f"stopping: {len(running)} running jobs save their state; Ctrl-C again kills them")
                    for one in running:
                        one.process.send_signal(stop.signal or signal.SIGTERM)
                while waiting and free:
                    running.append(start(waiting.popleft(), free.pop(0), folder, searched))
                    watch.started(running[-1].job.name, running[-1].slot.device)
                for one in [one for one in running if one.process.poll() is not None]:
                    running.remove(one)
                    free.append(one.slot)
                    state, reason = conclude(one, folder)
                    failed |= state == "failed"
                    watch.ended(one.job.name, state, reason, time.monotonic() - one.started)
                watch.refresh()
                time.sleep(SECONDS_BETWEEN_LOOKS)
        except KeyboardInterrupt:
            pass  # the second Ctrl-C: the sweep can continue from the saved checkpoints
        finally:
            for one in running:
                one.process.kill()
                one.process.wait()
    if stop.signal:
        raise InterruptedRunError(f"interrupted; the same command continues {folder.path}", stop.signal)


def start(job: Job, slot: Slot, folder: SweepFolder, searched: Sequence[str]) -> Running:
    """Starts the job in a new session: Ctrl-C reaches only the sweep, which stops its jobs itself."""
    with folder.log(job.name).open("ab") as log, on_cores(slot.cores):
        process = subprocess.Popen(
            command(job, folder, searched),
            env=os.environ | slot.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(job, slot, process, time.monotonic())


def conclude(ended: Running, folder: SweepFolder) -> tuple[State, str]:
    """Records how a job's process ended; returns its state, and why it is not completed."""
    code = ended.process.returncode
    last = last_line(folder.log(ended.job.name)) or "no output"
    name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
    reason = f"killed by {name}" if code < 0 else f"exit code {code}: {last}"
    if code == -signal.SIGKILL:
        reason += ", perhaps for lack of memory"
    folder.ended(ended.job.name, code, reason if code else "")
    state = folder.state(ended.job)
    return state, "" if state == "interrupted" else reason
