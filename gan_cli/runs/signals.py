"""Ctrl-C and SIGTERM: a run stops where nothing is lost, and work that only scores is dropped at once."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

PR_SET_PDEATHSIG = 1


class WorkDroppedError(KeyboardInterrupt):
    """A signal ended work that can be done again: training state is whole."""


@dataclass
class Stop:
    """Set by the first Ctrl-C or SIGTERM; the step in progress is finished and saved. A second one is immediate.

    Once the run is `closing`, which takes a moment, there is nothing left to interrupt.
    """

    signal: int | None = None
    closing: bool = False
    droppable: bool = False

    @contextmanager
    def dropping(self) -> Iterator[None]:
        """Inside, the first signal raises WorkDroppedError wherever the program is; nothing inside may write."""
        self.droppable = True
        try:
            if self.signal is not None:
                raise WorkDroppedError
            yield
        finally:
            self.droppable = False


@contextmanager
def stop_on_signal(answer: str = "") -> Iterator[Stop]:
    """Inside, signals are heard as `Stop` says; `answer` is what the first one is told at once, on stderr."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        again, stop.signal = stop.signal is not None, number
        if answer and not again and not stop.closing:
            with suppress(OSError):  # a reader that has gone is no reason not to stop
                os.write(2, f"\n{answer}\n".encode())
        if again and not stop.closing:
            stop.closing = True
            raise KeyboardInterrupt
        if stop.droppable:
            stop.droppable = False
            raise WorkDroppedError

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_with(parent: int) -> None:
    """SIGTERM, which saves and stops, when the parent dies; Linux alone can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(128 + signal.SIGTERM)
