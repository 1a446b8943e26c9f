"""gan-train as a child of gan-sweep: it ends when its parent does, however that ended."""

import ctypes
import os
import signal
import sys

from gan_cli import cli

PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """SIGTERM, which saves and stops, when the parent dies; Linux alone can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    end_with(int(sys.argv.pop(1)))
    cli.train()
