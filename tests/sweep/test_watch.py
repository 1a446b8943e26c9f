"""What the live table of a sweep says of a job."""

import json
from pathlib import Path

from gan_cli.runs.folder import RunFolder
from gan_cli.sweep.watch import Line


def test_the_score_is_the_leading_metric_whatever_it_is_called(tmp_path: Path) -> None:
    """Scorers give it first; a FID beside it is no reason to show that."""
    line = Line("job", total=4, run=RunFolder(tmp_path), log=tmp_path / "job.log")
    assert line.score == ""
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 2, "metrics": {"coverage": 0.25, "fid": 3.0}}) + "\n")
    line.read_new()
    assert (line.step, line.score) == (2, "coverage 0.25")


def test_what_a_job_does_besides_training_is_shown(tmp_path: Path) -> None:
    run, log = RunFolder(tmp_path), tmp_path / "job.log"
    line = Line("job", total=4, run=run, log=log)
    line.read_new()
    assert line.activity == ""
    log.write_text("run folder: job\npreparing images 512/2000\n")  # before the run has a folder of its own
    line.read_new()
    assert line.activity == "preparing images 512/2000"
    run.recorded({"step": 2, "losses": {"critic": {"adversarial": 1.0}}})
    line.read_new()
    assert line.activity == ""
    run.working("sampling images, block 3/20")
    line.read_new()
    assert line.activity == "sampling images, block 3/20"
    run.working("")
    line.read_new()
    assert line.activity == ""
