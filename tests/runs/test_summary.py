"""The best checkpoint and the spread of a run's scores."""

import json
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest

from gan_cli.runs.folder import RunFolder
from gan_cli.runs.formats import read_record, read_summary
from gan_cli.runs.summary import best_record, print_summary, trajectory

from ..leaderboard.folders import make_run


def evaluations(*values: float) -> list[dict[str, Any]]:
    return [{"step": 0, "losses": {}}] + [
        {"step": step, "metrics": {"m": value}} for step, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize(
    ("values", "lower_is_better", "step"),
    [
        ((2.0, 1.0, 3.0), True, 2),
        ((2.0, 1.0, 3.0), False, 3),
        ((1.0, 1.0, 3.0), True, 2),
        ((math.nan, 2.0, 3.0), True, 2),
        ((2.0, math.nan), False, 1),
    ],
)
def test_best_record(values: tuple[float, ...], lower_is_better: bool, step: int) -> None:
    best = best_record(evaluations(*values), "m", lower_is_better)
    assert best is not None
    assert best["step"] == step


def test_there_is_no_best_of_nothing() -> None:
    assert best_record(evaluations(), "m", True) is None
    assert best_record(evaluations(math.nan), "m", True) is None


def test_trajectory() -> None:
    assert trajectory(evaluations(1.0, 2.0, 6.0)) == {
        "m": {"min": 1.0, "max": 6.0, "mean": 3.0, "std": pytest.approx(14**0.5 / 2**0.5)}  # with n - 1
    }
    assert trajectory(evaluations(1.0)) == {"m": {"min": 1.0, "max": 1.0, "mean": 1.0}}


def write(folder: Path, **changes: Any) -> Path:
    run = make_run(folder)
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | changes))
    return run


def test_a_summary_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = write(tmp_path, warnings=["step 3: constant images"])
    written = json.loads((run / "summary.json").read_text())
    assert read_summary(run) == written
    assert RunFolder(run).summary() == read_summary(run)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"status": "splendid"}, "status: "),
        ({"step": -1}, "step: "),
        ({"step": 10**30}, "step: "),
        ({"step": 1.5}, "step: "),
        ({"metrics": {"last": {"fid": "1"}, "best": {}, "trajectory": {}}}, "metrics.last.fid: "),
        ({"metrics": {"last": {}, "best": {}}}, "metrics.trajectory: Field required"),
        (
            {"metrics": {"last": {}, "best": {}, "trajectory": {}, "repeats": {"last": {"fid": 1.0}}}},
            "repeats.last.fid: ",
        ),
        ({"config": {"seed": 0, "steps": 1}}, "config.objective: Field required"),
        ({"config": []}, "config: "),
        ({"cost": {"sampling": 3}}, "cost.sampling: "),
        ({"cost": {"critic_updates": "3"}}, "cost: Value error, critic_updates is not a count"),
        ({"cost": {"seconds": math.nan}}, "cost.seconds"),
        ({"protocol": {"a": {}}}, "protocol.a"),
        ({"overrides": "seed=0"}, "overrides: "),
        ({"warnings": {}}, "warnings: "),
        ({"protocol": {str(number): 0 for number in range(1001)}}, "protocol: "),
    ],
)
def test_a_summary_of_another_form_is_refused_in_one_line(changes: Any, problem: str, tmp_path: Path) -> None:
    run = write(tmp_path, **changes)
    with pytest.raises(ValueError, match=re.escape(problem)) as refusal:
        read_summary(run)
    assert str(run / "summary.json") in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert RunFolder(run).summary() is None


def test_summaries_of_earlier_versions_are_read(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    summary = json.loads((run / "summary.json").read_text())
    del summary["config"], summary["overrides"], summary["objective"], summary["cost"]["sampling"]
    summary["metrics"] = {"last": {"fid": 1}, "best": {}, "trajectory": {}, "leading": "fid", "lower_is_better": True}
    (run / "summary.json").write_text(json.dumps(summary))
    assert read_summary(run)["metrics"]["last"] == {"fid": 1.0}


def test_what_is_printed_of_a_run_has_no_escape_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = "[red]\x1b[31m\u202e"
    scores = {odd: 1.0}
    metrics = {"last": scores, "best": scores, "trajectory": {}, "floor": scores, "best_step": 3}
    print_summary(write(tmp_path, metrics=metrics, protocol={odd: odd}) and read_summary(tmp_path / "run-0"), Path(odd))
    printed = capsys.readouterr().out
    assert printed.count(r"[red]\x1b[31m\u202e") >= 3
    assert all(letter.isprintable() or letter == "\n" for letter in printed)


@pytest.mark.parametrize(
    ("line", "is_record"),
    [
        (b'{"step": 0}', True),
        (b'{"step": 1, "losses": {"critic": {"a": NaN}}, "other": [1]}', True),
        (b'{"step": 1, "metrics": {"fid": 1.5}, "repeats": {"fid": [1.0, 2.0]}}', True),
        (b'{"step": 1, "metrics": {"fid": 1.5}, "repeats": {"fid": 1.0}}', False),
        (b'{"step": -1}', False),
        (b'{"step": true}', False),
        (b'{"step": 1, "losses": {"critic": 1}}', False),
        (b'{"step": 1, "metrics": []}', False),
        (b'{"step": 1, "seconds": Infinity}', False),
        (b'{"step": 1, "a": ' + b"[" * 1000, False),
        (b'{"step": 1, "a": "\\ud800"}', False),
        (b"[]", False),
        (b"", False),
    ],
)
def test_records(line: bytes, is_record: bool, tmp_path: Path) -> None:
    assert (read_record(line) is not None) == is_record
    run = RunFolder(tmp_path)
    run.metrics.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    assert len(run.records()) == (3 if is_record else 1)


def test_many_records_are_read_in_no_time(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    record = {"seconds": 1.5, "losses": {"discriminator": {"adversarial": 1.25}, "generator": {"adversarial": 0.75}}}
    run.metrics.write_text("".join(json.dumps({"step": step} | record) + "\n" for step in range(20_000)))
    started = time.process_time()
    assert len(run.records()) == 20_000
    assert time.process_time() - started < 2  # a tenth of a second on an idle core
