"""What is averaged over seeds is what was recorded at the same step."""

from pathlib import Path

import pytest

from gan_cli.leaderboard.boards import boards
from gan_cli.leaderboard.figures import curves, losses_of, scores_by_step, scores_by_time
from gan_cli.leaderboard.results import gather

from .folders import make_run


def test_a_run_that_lost_an_evaluation_shifts_no_other(tmp_path: Path) -> None:
    """FIDs 4, 2, 1 and 12, 6, 3, of which the second run's 6 was not finite: means 8, 2, 2."""
    make_run(tmp_path, "objective=hinge", seed=0, fid=1.0)
    cut = make_run(tmp_path, "objective=hinge", seed=1, fid=3.0)
    lines = (cut / "metrics.jsonl").read_text().splitlines(keepends=True)
    (cut / "metrics.jsonl").write_text("".join(line for line in lines if '"fid_digits": 6.0' not in line))
    (board,) = boards(gather([tmp_path]), None)
    panel = curves(board).axes[0]
    (line,) = panel.lines
    assert line.get_xydata().tolist() == [[10, 8], [20, 2], [30, 2]]


def test_points_lie_at_their_steps_seconds_and_stretches(tmp_path: Path) -> None:
    make_run(tmp_path, "objective=hinge", fid=1.0)
    (result,) = gather([tmp_path])
    assert scores_by_step(result, "fid_digits") == {10: (10, 4), 20: (20, 2), 30: (30, 1)}
    assert scores_by_time(result, "fid_digits") == {
        step: (pytest.approx(step / 10), 40 / step if step < 30 else 1) for step in (10, 20, 30)
    }
    assert losses_of(result, "discriminator") == {step: (step + 0.5, 1.5) for step in (10, 20, 30)}
