"""A bar on a terminal, plain lines elsewhere."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from gan_cli import work
from gan_cli.runs import progress
from gan_cli.runs.sink import Reading


@pytest.mark.parametrize("terminal", [True, False])
def test_both_say_the_same(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()

    def console(**settings: object) -> Console:
        return Console(file=written, force_terminal=terminal, width=80)

    monkeypatch.setattr(progress, "Console", console)
    with progress.Progress(total=10, first_step=0) as shown:
        shown.advanced(Reading(5, 1234.0, {"discriminator": 1.25, "generator": 0.5}, {"real": 0.75, "fake": -0.25}))
        shown.recorded({"step": 5, "metrics": {"fid": 3.2, "inception_score_mean": 7.5, "inception_score_std": 0.125}})
    text = written.getvalue()
    for part in (
        "5/10",
        "1,234 images/s",
        "loss D 1.250",
        "loss G 0.500",
        "score real 0.75",
        "score fake -0.25",
        "step 5/10  fid 3.2  inception_score_mean 7.5",
    ):
        assert part in text
    assert "0.125" not in text
    assert ("\x1b[" in text) == terminal


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (progress, work):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.mark.parametrize("terminal", [True, False])
def test_long_work_is_shown_and_short_work_is_not(
    terminal: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = io.StringIO()

    def console(**settings: object) -> Console:
        assert settings == {"stderr": True}
        return Console(file=written, force_terminal=terminal, width=80)

    monkeypatch.setattr(progress, "Console", console)
    with progress.showing_work():
        for _ in work.track(range(20), "being [bold]short[/bold]"):
            clock.now += 0.09
        clock.now += 100
        assert written.getvalue() == ""
        for _ in work.track(range(20), "reading [bold]archive.zip[/bold], file"):
            clock.now += 0.9
        print("a result")
    text = written.getvalue()
    assert "short" not in text
    if terminal:
        assert "reading [bold]archive.zip[/bold], file 20/20" in text  # no markup
        assert text.endswith("\x1b[2K")  # the line is gone
    else:
        assert text.splitlines() == [
            f"reading [bold]archive.zip[/bold], file {number}/20" for number in (4, 10, 16)
        ]  # from two seconds on, every five
    assert capsys.readouterr().out == "a result\n"
