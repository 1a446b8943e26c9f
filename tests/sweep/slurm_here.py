"""A SLURM of one node on this machine: munge, a controller and a daemon of its own, with ports of their own."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
SBIN = ("/usr/sbin", "/usr/local/sbin", "/sbin")
NUM_CPUS = 4  # as the node says; the machine may have fewer

CONF = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 MaxTime=INFINITE
PartitionName=high Nodes={host} PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE
"""


def missing() -> str:
    """What is not there that a SLURM on this machine needs; empty if nothing is."""
    absent = [name for name in PROGRAMS if found(name) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd is for root"


def found(name: str) -> str | None:
    return shutil.which(name) or next(
        (f"{folder}/{name}" for folder in SBIN if os.path.exists(f"{folder}/{name}")), None
    )


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Inside, SLURM runs, for the commands that have this environment."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(
            folder=folder,
            host=socket.gethostname().split(".")[0],
            user=os.environ.get("USER", "root"),
            controller_port=free_port(),
            node_port=free_port(),
            cpus=NUM_CPUS,
        )
    )
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    environment = {"SLURM_CONF": str(conf)}
    with ExitStack() as held:
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
            ["slurmctld", "-D", "-f", str(conf)],
            ["slurmd", "-D", "-f", str(conf)],
        ):
            held.enter_context(daemon(command, folder))
        end = time.monotonic() + 60
        while asked(environment, "sinfo", "--noheader", "--format=%T").split() != ["idle"]:
            assert time.monotonic() < end, (folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(0.5)
        yield environment
        asked(environment, "scancel", f"--user={os.getuid()}", "--signal=KILL", "--full")
        asked(environment, "scancel", f"--user={os.getuid()}")


def asked(environment: dict[str, str], *command: str) -> str:
    ended = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    return ended.stdout + ended.stderr


@contextmanager
def daemon(command: list[str], folder: Path) -> Iterator[None]:
    program = found(command[0])
    assert program is not None
    with (folder / f"{command[0]}.out").open("wb") as out:
        process = subprocess.Popen([program, *command[1:]], stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
