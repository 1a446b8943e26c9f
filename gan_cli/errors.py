"""Errors that end a command: one line for the user, and an exit code."""

from gan_cli.text import printable


class EndError(Exception):
    """Ends the program; the message is one line."""

    code = 1


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


class OutOfMemoryError(EndError):
    """The device has too little memory; the message says what to lower."""


class InterruptedRunError(EndError):
    """The run was stopped by a signal, and can be continued."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.code = 128 + signal_number


def one_line(error: BaseException) -> str:
    """The error's message in one line that is safe to print; its class if it has none."""
    return printable(error) or type(error).__name__
