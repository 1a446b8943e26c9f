"""What a listener is told of long work, how it ends the work, and what a call in the background takes with it."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gan_cli import work
from gan_cli.work import AbandonedError, Call, abandoned_calls, doing, in_background, listening, track


class Clock:
    """A time that passes only when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(work, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def told() -> Iterator[list[str]]:
    words: list[str] = []
    with listening(words.append):
        yield words


class Stopped(Exception):
    """What a listener ends work with."""


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def test_items_pass_through_with_and_without_a_listener(told: list[str]) -> None:
    assert list(track("abc", "spelling")) == ["a", "b", "c"]
    assert told == ["spelling 1/3", ""]
    with listening(lambda text: None):
        assert list(track("abc", "spelling")) == ["a", "b", "c"]


def test_nobody_is_told_outside() -> None:
    words: list[str] = []
    with listening(words.append):
        pass
    assert list(track(range(3), "counting")) == [0, 1, 2]
    assert in_background("adding", sum, [1, 2]) == 3
    with doing("nothing") as tell:
        tell()
    assert words == []


def test_nested_tracks_are_told_joined(clock: Clock, told: list[str]) -> None:
    for _ in track(range(2), "sampling images"):
        for _ in track(range(3), "Langevin step"):
            clock.now += 1
    inner = [f"sampling images {image}/2, Langevin step {step}/3" for image in (1, 2) for step in (1, 2, 3)]
    inner.remove("sampling images 1/2, Langevin step 1/3")  # the clock stands still between it and what is outside
    inner.insert(0, "sampling images 1/2")
    assert told == [*inner[:3], "sampling images 2/2", *inner[4:], ""]


def test_a_listener_is_called_at_most_every_tenth_of_a_second(clock: Clock, told: list[str]) -> None:
    for _ in track(range(98), "counting"):
        clock.now += 0.03
    assert told[:3] == ["counting 1/98", "counting 5/98", "counting 9/98"]
    assert len(told) == 25 + 1
    told.clear()
    for _ in range(5):
        assert list(track(range(3), "being quick")) == [0, 1, 2]
    assert told == []  # not told of, and so not of its end


def test_the_total_may_be_given_or_unknown(clock: Clock, told: list[str]) -> None:
    for _ in track(iter("ab"), "listing files"):
        clock.now += 1
    for _ in track(iter("ab"), "reading", total=7):
        clock.now += 1
    assert told == ["listing files 1", "listing files 2", "", "reading 1/7", "reading 2/7", ""]


def test_work_without_items_tells_how_long_it_takes(clock: Clock, told: list[str]) -> None:
    with doing("waiting") as tell:
        clock.now += 12
        tell()
        with doing("inside"):
            clock.now += 3
            tell()
    assert told == ["waiting, 0 s", "waiting, 12 s", "waiting, inside, 3 s", ""]


def test_the_end_is_told_once_and_of_the_outermost_work_alone(clock: Clock, told: list[str]) -> None:
    for _ in track(range(2), "outer"):
        for _ in track(range(2), "inner"):
            clock.now += 1
    assert told.count("") == 1
    assert told[-1] == ""


def test_a_listener_may_end_the_work(clock: Clock) -> None:
    seen: list[int] = []

    def stop_at_three(text: str) -> None:
        if text == "counting 3/9":
            raise Stopped

    with listening(stop_at_three), pytest.raises(Stopped):  # noqa: PT012
        for number in track(range(9), "counting"):
            seen.append(number)
            clock.now += 1
    assert seen == [0, 1]


@pytest.mark.parametrize("leave", ["error", "break"])
def test_work_that_is_left_is_no_longer_told(leave: str, clock: Clock, told: list[str]) -> None:
    def work_on() -> None:
        for _ in track(range(9), "outer"):
            for _ in track(range(9), "inner"):
                if leave == "error":
                    raise KeyError("of the work itself")
                break
            return

    if leave == "error":
        with pytest.raises(KeyError):
            work_on()
    else:
        work_on()
    gc.collect()
    clock.now += 1
    assert list(track("a", "next")) == ["a"]
    assert told == ["outer 1/9", "", "next 1/1", ""]


def test_an_inner_listener_takes_the_outer_ones_place(told: list[str]) -> None:
    words: list[str] = []
    with listening(words.append):
        list(track("ab", "inside"))
    assert told == []
    assert words == ["inside 1/2", ""]


def test_another_thread_tells_nobody(told: list[str]) -> None:
    thread = threading.Thread(target=lambda: list(track("ab", "elsewhere")))
    thread.start()
    thread.join()
    assert told == []


def test_a_call_in_the_background_returns_or_raises_what_the_function_does() -> None:
    assert in_background("joining", "-".join, ["a", "b"]) == "a-b"
    assert in_background("converting", int, "ff", base=16) == 255
    with pytest.raises(ValueError, match="invalid literal"):
        in_background("converting", int, "x")
    assert not abandoned_calls()


def test_a_call_in_the_background_is_told_with_what_is_tracked_in_it(told: list[str]) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def extract() -> int:
        for number in track(range(5), "batch"):
            if number == 2:
                reached.set()
                assert go_on.wait(10)
        return threading.get_ident()

    def listener(text: str) -> None:
        assert threading.get_ident() == here
        if reached.is_set() and text:
            words.append(text)
            go_on.set()

    here, words = threading.get_ident(), list[str]()
    with listening(listener), doing("scoring"):
        assert in_background("features", extract) != here
    assert words[0] == "scoring, features, batch 3/5"
    assert told == []


def test_a_listener_may_abandon_a_call_which_ends_at_its_next_item() -> None:
    count = 0

    def endless() -> None:
        nonlocal count
        for _ in track(iter(int, 1), "item"):
            count += 1
            time.sleep(0.001)

    def stop(text: str) -> None:
        if "item" in text:
            raise Stopped

    with listening(stop), pytest.raises(Stopped):
        in_background("endless work", endless)
    wait_for(lambda: not abandoned_calls())
    ended_at = count
    time.sleep(0.05)
    assert count == ended_at > 0


def test_an_abandoned_call_without_items_is_known_until_it_ends() -> None:
    go_on = threading.Event()

    def stop(text: str) -> None:
        raise Stopped

    with listening(stop), pytest.raises(Stopped):
        in_background("one long call", go_on.wait, 10)
    go_on.set()
    wait_for(lambda: not abandoned_calls())


def test_abandoning_passes_through_calls_within_calls() -> None:
    calls: list[Call] = []

    def outer() -> None:
        thread = threading.current_thread()
        assert isinstance(thread, Call)
        calls.append(thread)
        in_background("inner", lambda: [time.sleep(0.01) for _ in track(iter(int, 1), "item")])  # type: ignore[func-returns-value]

    def stop(text: str) -> None:
        if "inner, item" in text:
            raise Stopped

    with listening(stop), pytest.raises(Stopped):
        in_background("outer", outer)
    wait_for(lambda: not abandoned_calls())
    assert isinstance(calls[0].error, AbandonedError)


def test_a_call_in_the_background_keeps_the_callers_modes() -> None:
    def modes() -> tuple[bool, bool, torch.dtype, int, str]:
        return (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            np.geterr()["divide"],
        )

    assert in_background("looking", modes) == modes()
    with torch.no_grad(), np.errstate(divide="raise"):
        assert in_background("looking", modes) == modes() != (True, *modes()[1:])
    with torch.inference_mode():
        assert in_background("looking", modes) == modes()
        assert torch.is_inference(in_background("making", torch.zeros, 1))
    with torch.inference_mode(), torch.enable_grad():
        assert in_background("looking", modes) == modes()


def test_draws_in_the_background_are_the_global_generators() -> None:
    def draws() -> tuple[float, float]:
        return torch.rand(()).item(), np.random.random()

    torch.manual_seed(0)
    np.random.seed(0)
    expected = [draws(), draws()]
    torch.manual_seed(0)
    np.random.seed(0)
    assert [draws(), in_background("drawing", draws)] == expected
