"""Ctrl-C, and other signals that ask to stop: a run stops after the current step; scoring is dropped at once."""

import ctypes
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

PR_SET_PDEATHSIG = 1
SECONDS_OF_ONE = 5.0  # SLURM sends the processes of a job the same signal twice, some milliseconds apart
STOPPING = (  # a closed terminal, Ctrl-C, the warnings of schedulers, a limit of processor time, and the polite end
    *(signal.SIGHUP, signal.SIGINT, signal.SIGUSR1),
    *(signal.SIGUSR2, signal.SIGXCPU, signal.SIGTERM),
)


class WorkDroppedError(KeyboardInterrupt):
    """A signal ended work that can be repeated; the training state is complete."""


@dataclass
class Stop:
    """Set by the first signal of `STOPPING`; the current step is finished and saved. A second one stops at once.

    The same signal again within seconds is no second one, but for Ctrl-C.
    While the run is `closing`, further signals are ignored.
    """

    signal: int | None = None
    closing: bool = False
    droppable: bool = False

    @contextmanager
    def dropping(self) -> Iterator[None]:
        """Inside, the first signal raises WorkDroppedError at any point; code inside must not write."""
        self.droppable = True
        try:
            if self.signal is not None:
                raise WorkDroppedError
            yield
        finally:
            self.droppable = False


@contextmanager
def stop_on_signal(answer: str = "") -> Iterator[Stop]:
    """Inside, signals are handled as `Stop` says; the first one prints `answer` on stderr at once."""
    stop, began = Stop(), -math.inf

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal began
        if number == stop.signal != signal.SIGINT and time.monotonic() < began + SECONDS_OF_ONE:
            return
        if stop.signal is None:
            began = time.monotonic()
        again, stop.signal = stop.signal is not None, number
        if answer and not again and not stop.closing:
            with suppress(OSError):  # stop also if stderr is closed
                os.write(2, f"\n{answer}\n".encode())
        if again and not stop.closing:
            stop.closing = True
            raise KeyboardInterrupt
        if stop.droppable:
            stop.droppable = False
            raise WorkDroppedError

    # nohup ignores SIGHUP: the run then outlives its terminal
    wanted = [number for number in STOPPING if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_with(parent: int) -> None:
    """Sends this process SIGTERM, which saves and stops, when the parent dies; only on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(128 + signal.SIGTERM)
