"""Long work says what it does, and can be stopped: whoever wants to know listens, whoever works long is tracked."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

SECONDS_BETWEEN_CALLS = 0.1  # of a listener

Listener = Callable[[str], None]
Item = TypeVar("Item")
Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


@dataclass(slots=True)
class Level:
    """One piece of work, which may lie inside another: the number of its present item, or the time it began.

    `inside` is the work of the thread that it waits for.
    """

    what: str
    number: int | None = None
    total: int | None = None
    began: float = 0.0
    inside: "Telling | None" = None

    def text(self, innermost: bool) -> str:
        if self.number is not None:
            return f"{self.what} {self.number}" + ("" if self.total is None else f"/{self.total}")
        return f"{self.what}, {time.monotonic() - self.began:.0f} s" if innermost else self.what


@dataclass(slots=True)
class Telling:
    """A listener, the work under way, outermost first, and when the listener may be called again."""

    listener: Listener
    levels: list[Level] = field(default_factory=list)
    due: float = float("-inf")
    told: bool = False

    def tell(self) -> None:
        now = time.monotonic()
        if now >= self.due:
            self.due, self.told = now + SECONDS_BETWEEN_CALLS, True
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
            if depth == 0 and self.told:
                self.told = False
                self.listener("")


present: ContextVar[Telling | None] = ContextVar("present", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Inside, `listener` is told what is done, at most every 0.1 s, and "" when the outermost work ends.

    It is called in this thread. It may raise to abandon the work, but not when it is told "".
    """
    token = present.set(Telling(listener))
    try:
        yield
    finally:
        present.reset(token)


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, numbered for the listener as they are worked on: "sampling images 3/20, Langevin step 400/1000"."""
    telling = present.get()
    if telling is None:
        return iter(items)
    if total is None and isinstance(items, Sized):
        total = len(items)
    return tracked(items, Level(what, number=0, total=total), telling)


def tracked(items: Iterable[Item], level: Level, telling: Telling) -> Iterator[Item]:
    clock = time.monotonic
    with telling.at(level):
        for level.number, item in enumerate(items, 1):
            if clock() >= telling.due:
                telling.tell()
            yield item


@contextmanager
def doing(what: str, inside: Telling | None = None) -> Iterator[Callable[[], None]]:
    """Work without items; yields a function that tells how long it has taken: "`what`, 12 s"."""
    telling = present.get()
    if telling is None:
        yield lambda: None
        return
    with telling.at(Level(what, began=time.monotonic(), inside=inside)):
        telling.tell()
        yield telling.tell


class AbandonedError(BaseException):
    """Ends a call in the background that nobody waits for any more, at its next tracked item."""


class Call(threading.Thread):
    """A function's call in a thread with the context variables and the modes of torch of the thread that makes it."""

    def __init__(self, name: str, function: Callable[[], Any]) -> None:
        # Not a daemon: an interpreter that shuts down under a running torch kernel aborts.
        super().__init__(name=name, daemon=False)
        self.function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished, self.abandoned = threading.Event(), threading.Event()
        self.telling = Telling(self.stop_if_abandoned)
        self.context = copy_context()
        self.context.run(present.set, self.telling)
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

    It runs in a thread of its own, while this one tells "`what`, 12 s" and stays open to signals: where a signal's
    handler or the listener raises, the call is abandoned. It therefore has to leave nothing half-done outside of
    memory. This thread waits, so the global random state is the call's alone. Work tracked inside is told from here.
    """
    call = Call(what, lambda: function(*args, **kwargs))
    with doing(what, call.telling) as tell:
        call.start()
        try:
            while not call.finished.wait(SECONDS_BETWEEN_CALLS):
                tell()
        except BaseException:
            call.abandoned.set()
            raise
    if call.error is not None:
        raise call.error
    return call.result


def abandoned_calls() -> bool:
    """Whether calls still run that nobody waits for: the interpreter would wait for them when it exits."""
    return any(isinstance(thread, Call) for thread in threading.enumerate())


def torch_modes() -> Callable[[], Any]:
    """A context that puts a thread into this one's modes of torch; autocast and a default device are not among them."""
    import torch  # here, since the console scripts import this module before they know that torch is needed

    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else None

    @contextmanager
    def entered() -> Iterator[None]:
        on_gpu = nullcontext() if gpu is None else torch.cuda.device(gpu)
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients), on_gpu:
            yield

    return entered
