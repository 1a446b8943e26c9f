"""What torchrun, or whoever sets its variables, says of this process; read without torch."""

import os
import socket
from collections.abc import Sequence

TOGETHER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
UNNAMED = ("", "none")  # torchrun's name for a launch that was given none


def num_processes() -> int:
    """How many processes were started together, to train one run."""
    return int(os.environ["WORLD_SIZE"]) if are_set(TOGETHER) else 1


def rank() -> int:
    """The number of this process among them."""
    return int(os.environ["RANK"]) if num_processes() > 1 else 0


def local_rank() -> int:
    """Its number among those on this machine."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def num_restarts() -> int:
    """How often torchrun has started all of them again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def may_restart() -> bool:
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0


def launch() -> str:
    """The launch's name, which its restarts have in common."""
    named = os.environ.get("TORCHELASTIC_RUN_ID", "")
    return f"{socket.gethostname()}-{os.getppid()}" if named in UNNAMED else named


def are_set(names: Sequence[str]) -> bool:
    return all(name in os.environ for name in names)
