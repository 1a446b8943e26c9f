"""A bar on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from gan_cli.runs import progress


@pytest.mark.parametrize("terminal", [True, False])
def test_both_say_the_same(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()

    def console(**settings: object) -> Console:
        return Console(file=written, force_terminal=terminal, width=80)

    monkeypatch.setattr(progress, "Console", console)
    with progress.Progress(total=10, first_step=0) as shown:
        shown.update(5, 1234.0, {"discriminator": 1.25, "generator": 0.5}, {"real": 0.75, "fake": -0.25})
        shown.note("step 5/10  fid 3.2")
    text = written.getvalue()
    for part in (
        "5/10",
        "1,234 images/s",
        "loss D 1.250",
        "loss G 0.500",
        "score real 0.75",
        "score fake -0.25",
        "fid 3.2",
    ):
        assert part in text
    assert ("\x1b[" in text) == terminal
