"""What the live table of a sweep says of a job."""

import json
from pathlib import Path

from gan_cli.runs.folder import RunFolder
from gan_cli.sweep.watch import Line


def test_the_score_is_the_leading_metric_whatever_it_is_called(tmp_path: Path) -> None:
    """Scorers give it first; a FID beside it is no reason to show that."""
    line = Line("job", total=4, run=RunFolder(tmp_path))
    assert line.score == ""
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 2, "metrics": {"coverage": 0.25, "fid": 3.0}}) + "\n")
    line.read_new()
    assert (line.step, line.score) == (2, "coverage 0.25")
