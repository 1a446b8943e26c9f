"""Errors that end a command: one line for the user, and an exit code."""

import os
import sysconfig
import traceback
from pathlib import Path

from gan_cli.text import printable

LIBRARIES = (
    str(Path(__file__).resolve().parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<",  # no file, as "<string>"
)


class EndError(Exception):
    """Ends the program; the message is one line.

    `of_all` says whether all processes that train a run raise it, so that the first one speaks for them.
    """

    code = 1
    of_all = True


class UserError(EndError):
    """The user's input is wrong; the message says what, and how to fix it."""

    code = 2


class CheckpointError(UserError):
    """A checkpoint that is missing, damaged, or of another format; the message names it."""


class LostError(EndError):
    """The training is lost; `status` is the run's."""

    status: str


class DivergedError(LostError):
    """A loss or a weight is no longer a finite number, or beyond reason."""

    status = "diverged"


class CollapsedError(LostError):
    """Nothing is learned any more, though all numbers are finite."""

    status = "collapsed"


class DifferenceError(EndError):
    """A run or a table is not what its own record gives; the message says what differs first."""


class OutOfMemoryError(EndError):
    """The device has too little memory; the message says what to lower."""

    of_all = False


class RankError(EndError):
    """Another process of the run has ended, or does not answer."""


class ElsewhereError(EndError):
    """An error of another process of the run, which the first one prints."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class InterruptedRunError(EndError):
    """The run was stopped by a signal, and can be continued."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.code = 128 + signal_number


def one_line(error: BaseException) -> str:
    """The error's message in one line that is safe to print; its class if it has none."""
    return printable(error) or type(error).__name__


def own_code(error: BaseException) -> str:
    """The last line of the user's own code that the error came through, as "file, line 7"; empty if it met none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(LIBRARIES):
            return printable(f"{os.path.relpath(frame.filename)}, line {frame.lineno}")
    return ""
