"""Progress of long work: code reports what it does to a listener, which may also stop it."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

SECONDS_BETWEEN_CALLS = 0.1  # of a listener

Listener = Callable[[str], None]
Item = TypeVar("Item")
Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


@dataclass(slots=True)
class Level:
    """One piece of work, which may be inside another: the number of its current item, or its start time.

    `what` may be a function, of work whose name tells how far others are. `inside` is the work of the thread that it
    waits for.
    """

    what: str | Callable[[], str]
    number: int | None = None
    total: int | None = None
    began: float = 0.0
    inside: "Report | None" = None

    def text(self, innermost: bool) -> str:
        what = self.what if isinstance(self.what, str) else self.what()
        if self.number is not None:
            return f"{what} {self.number}" + ("" if self.total is None else f"/{self.total}")
        return f"{what}, {time.monotonic() - self.began:.0f} s" if innermost else what


@dataclass(slots=True)
class Report:
    """A listener, the current work, outermost first, and when the listener may be called again."""

    listener: Listener
    levels: list[Level] = field(default_factory=list)
    due: float = float("-inf")
    sent: bool = False

    def send(self) -> None:
        now = time.monotonic()
        if now >= self.due:
            self.due, self.sent = now + SECONDS_BETWEEN_CALLS, True
            levels = self.all_levels()
            self.listener(", ".join(level.text(innermost=level is levels[-1]) for level in levels))

    def all_levels(self) -> list[Level]:
        levels = list(self.levels)
        if levels and levels[-1].inside is not None:
            levels += levels[-1].inside.all_levels()
        return levels

    @contextmanager
    def at(self, level: Level) -> Iterator[None]:
        depth = len(self.levels)
        self.levels.append(level)
        try:
            yield
        finally:
            del self.levels[depth:]
            if depth == 0 and self.sent:
                self.sent = False
                self.listener("")


current: ContextVar[Report | None] = ContextVar("current", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Inside, `listener` gets the current work as text, at most every 0.1 s, and "" when the outermost work ends.

    It is called in this thread. It may raise to abandon the work, but not when it gets "".
    """
    token = current.set(Report(listener))
    try:
        yield
    finally:
        current.reset(token)


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items; each is reported when its work starts: "sampling images 3/20, Langevin step 400/1000"."""
    report = current.get()
    if report is None:
        return iter(items)
    if total is None and isinstance(items, Sized):
        total = len(items)
    return tracked(items, Level(what, number=0, total=total), report)


def tracked(items: Iterable[Item], level: Level, report: Report) -> Iterator[Item]:
    clock = time.monotonic
    with report.at(level):
        for level.number, item in enumerate(items, 1):
            if clock() >= report.due:
                report.send()
            yield item


@contextmanager
def doing(what: str | Callable[[], str], inside: Report | None = None) -> Iterator[Callable[[], None]]:
    """Work without items; yields a function that reports how long it has taken: "`what`, 12 s"."""
    report = current.get()
    if report is None:
        yield lambda: None
        return
    with report.at(Level(what, began=time.monotonic(), inside=inside)):
        report.send()
        yield report.send


class AbandonedError(BaseException):
    """Ends an abandoned call in the background, at its next tracked item."""


class Call(threading.Thread):
    """A function call in a new thread, with the context variables and torch modes of the calling thread."""

    def __init__(self, name: str, function: Callable[[], Any]) -> None:
        # Not a daemon: an interpreter that shuts down under a running torch kernel aborts.
        super().__init__(name=name, daemon=False)
        self.function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished, self.abandoned = threading.Event(), threading.Event()
        self.report = Report(self.stop_if_abandoned)
        self.context = copy_context()
        self.context.run(current.set, self.report)
        self.modes = torch_modes()

    def run(self) -> None:
        try:
            self.result = self.context.run(self.call)
        except BaseException as error:
            self.error = error
        finally:
            self.finished.set()

    def call(self) -> Any:
        with self.modes():
            return self.function()

    def stop_if_abandoned(self, text: str) -> None:
        if text and self.abandoned.is_set():
            raise AbandonedError


def in_background(
    what: str, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """What `function` returns or raises; for long calls that Python cannot interrupt, such as an eigensolver's.

    The function runs in a new thread, while this one reports "`what`, 12 s" and handles signals. If a signal handler or
    the listener raises, the call is abandoned; it therefore must not leave incomplete changes outside of memory. This
    thread waits, so only the call uses the global random state. This thread also reports work tracked inside the call.
    """
    call = Call(what, lambda: function(*args, **kwargs))
    with doing(what, call.report) as report:
        call.start()
        try:
            while not call.finished.wait(SECONDS_BETWEEN_CALLS):
                report()
        except BaseException:
            call.abandoned.set()
            raise
    if call.error is not None:
        raise call.error
    return call.result


@contextmanager
def alone(path: Path, doing_what: str, so_far: Callable[[], str] = str) -> Iterator[None]:
    """Waits for the lock file, then holds it; so that a second process can use what the first one has made.

    While it waits it reports another process that "`doing_what`", and `so_far`, how far that one is. The lock of a
    process that dies is free. Raises OSError where the file cannot be locked.
    """
    from filelock import FileLock, Timeout  # here, because the console scripts import this module

    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        with doing(lambda: f"waiting for another process that {doing_what}{so_far()}") as tell:
            while not lock.is_locked:
                with suppress(Timeout):
                    lock.acquire(timeout=0.1)
                tell()
    try:
        yield
    finally:
        lock.release()


def abandoned_calls() -> bool:
    """Whether abandoned calls still run: the interpreter would wait for them when it exits."""
    return any(isinstance(thread, Call) for thread in threading.enumerate())


def torch_modes() -> Callable[[], Any]:
    """A context that gives a thread this thread's torch modes, except autocast and a default device."""
    import torch  # here, because the console scripts import this module before torch is needed

    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    @contextmanager
    def entered() -> Iterator[None]:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            yield

    return entered
