"""A bar on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

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
