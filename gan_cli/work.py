"""Long work says what it does, and can be stopped: whoever wants to know listens, whoever works long is tracked."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import torch

SECONDS_BETWEEN_WORDS = 0.1

Listener = Callable[[str], None]
Item = TypeVar("Item")
Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


@dataclass(slots=True)
class Level:
    """One piece of work inside another: the number of the item it is at, or the time it began."""

    what: str
    at: int | None = None
    total: int | None = None
    since: float | None = None

    def __str__(self) -> str:
        if self.since is not None:
            return f"{self.what}, {time.monotonic() - self.since:.0f} s"
        if self.at is None:
            return self.what
        return f"{self.what} {self.at}" + ("" if self.total is None else f"/{self.total}")


@dataclass(slots=True)
class Telling:
    """A listener, the work that is under way, outermost first, and when the listener may be told next."""

    listener: Listener
    levels: list[Level] = field(default_factory=list)
    due: float = float("-inf")
    told: bool = False

    def tell(self) -> None:
        if time.monotonic() >= self.due:
            self.due, self.told = time.monotonic() + SECONDS_BETWEEN_WORDS, True
            self.listener(", ".join(map(str, self.levels)))

    @contextmanager
    def inside(self, level: Level) -> Iterator[None]:
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

    It is called in the thread that works. It may raise to abandon the work, but not when it is told "".
    """
    token = present.set(Telling(listener))
    try:
        yield
    finally:
        present.reset(token)


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, told one by one as they are worked on: "sampling images 3/20, Langevin step 400/1000"."""
    telling = present.get()
    if telling is None:
        return iter(items)
    if total is None and isinstance(items, Sized):
        total = len(items)
    return tracked(items, Level(what, 0, total), telling)


def tracked(items: Iterable[Item], level: Level, telling: Telling) -> Iterator[Item]:
    clock = time.monotonic
    with telling.inside(level):
        for level.at, item in enumerate(items, 1):
            if clock() >= telling.due:
                telling.tell()
            yield item


def in_background(
    what: str, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """What `function` returns or raises; for one long call that Python cannot interrupt, such as an eigensolver's.

    It runs in a thread of its own, while this one tells "`what`, 12 s" and stays open to signals: where one of them, or
    the listener, raises, the call is abandoned. The caller has to wait, so the global random state is the call's alone.
    Context variables and torch's gradient and inference modes are as they are here; autocast, a default device and
    dispatch modes are not. Nothing is told of tracks inside.
    """
    telling = present.get()
    context = copy_context()
    context.run(present.set, None)
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    outcome: dict[str, Any] = {}
    finished = threading.Event()

    def work() -> None:
        try:
            with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
                outcome["result"] = context.run(function, *args, **kwargs)
        except BaseException as error:
            outcome["error"] = error
        finally:
            finished.set()

    def wait() -> None:
        while not finished.wait(SECONDS_BETWEEN_WORDS):
            if telling is not None:
                telling.tell()

    threading.Thread(target=work, name=what, daemon=True).start()
    if telling is None:
        wait()
    else:
        with telling.inside(Level(what, since=time.monotonic())):
            telling.tell()
            wait()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
