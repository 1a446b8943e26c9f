"""Learning rates tuned for each method alike, by runs that enter no table."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gan_cli.errors import UserError
from gan_cli.leaderboard import report
from gan_cli.leaderboard.boards import boards
from gan_cli.leaderboard.notes import headings, notes, separation
from gan_cli.leaderboard.results import gather
from gan_cli.leaderboard.tables import text_tables
from gan_cli.leaderboard.text_formats import comma_separated, markdown
from gan_cli.sweep.command_line import prepare
from gan_cli.sweep.sweep_folder import Job, SweepFolder
from gan_cli.sweep.tuning import FOLDER, Tuning, learning_rates, plan_lines, scaled, tune, tuned_jobs, tunings

from ..conftest import TINY
from ..leaderboard.folders import MEANING, make_run
from .test_race import STEPS, Stream, fast_disk, job  # noqa: F401
from .test_sweep import swept

FACTORS, SEEDS = [0.3, 1.0, 3.0], [1000, 1001]


def job_of(point: Sequence[str]) -> Job:
    """A job of the method `a` or `b`, whose made-up scores depend on the method and its learning rate."""
    given = dict(override.split("=") for override in point)
    rate = float(given.get("generator_optimizer.lr", 0.001))
    both = {"generator_optimizer": {"lr": rate}, "discriminator_optimizer": {"lr": 2 * rate}}
    made = job(f"{given['method']} {rate:g}", int(given["seed"]), **both)
    return Job(made.name, list(point), made.config)


TABLE = [job_of([f"method={method}", f"seed={seed}"]) for seed in (0, 1) for method in "ab"]
FIDS = {
    **{"a 0.0003": [5.0] * 9, "a 0.001": [9.0] * 9, "a 0.003": [6.0] * 3 + [2.0] * 6},  # best late, second early
    **{"b 0.0003": [4.0] * 9, "b 0.001": [4.0] * 9, "b 0.003": [4.0] * 9},
}


def planned() -> list[Tuning]:
    return tunings(TABLE, FACTORS, SEEDS, job_of, 3)


def test_rates_scale_together_and_a_factor_of_one_is_the_method_itself() -> None:
    (base, *_) = TABLE
    assert scaled(base, 1.0, 0) == ["method=a", "seed=0"]
    assert job_of(scaled(base, 1.0, 0)).config == base.config
    assert scaled(base, 3.0, 7) == [
        "method=a",
        "generator_optimizer.lr=0.003",
        "discriminator_optimizer.lr=0.006",
        "seed=7",
    ]
    given = Job(base.name, ["generator_optimizer.lr=0.001", "method=a", "seed=0"], base.config)
    assert scaled(given, 0.3, 0)[:2] == ["method=a", "generator_optimizer.lr=0.0003"], (
        "in place of the one that is given"
    )


def test_a_schedule_keeps_its_form() -> None:
    lr = {"start": 2e-4, "end": 0.0, "until": 90, "shape": "linear"}
    config: dict[str, Any] = {
        "generator_optimizer": {"lr": lr},
        "discriminator_optimizer": {"lr": 1e-3, "betas": [0, 1]},
    }
    assert learning_rates(config) == {
        "generator_optimizer.lr.start": 2e-4,
        "generator_optimizer.lr.end": 0.0,
        "discriminator_optimizer.lr": 1e-3,
    }
    with pytest.raises(UserError, match="a method has none: remove tuned=true"):
        learning_rates({"generator_optimizer": {"_target_": "mine.Own"}})


@pytest.mark.parametrize(
    ("factors", "seeds", "said"),
    [
        ([0.3, 3.0], SEEDS, "1 and others"),
        ([1.0, 1.0], SEEDS, "1 and others"),
        ([1.0, -1.0], SEEDS, "must be positive factors"),
        ([1.0, float("inf")], SEEDS, "must be positive factors"),
        (FACTORS, [1, 1000], "must be seeds that the table does not have, as 1 are: give others"),
        (FACTORS, [], "must be seeds that the table does not have"),
    ],
)
def test_what_cannot_tune_is_refused(factors: list[float], seeds: list[int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        tunings(TABLE, factors, seeds, job_of, 3)


def test_a_search_is_not_tuned_and_a_tuned_sweep_is_no_race(monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, said in (
        (["hydra/sweeper=optuna", "tuned=true"], "tuned=true is for"),
        (["tuned=true", "race=true"], "race"),
    ):
        monkeypatch.setattr("sys.argv", ["gan-sweep", *typed])
        with pytest.raises(UserError, match=said):
            prepare()


def chosen(folder: SweepFolder, fids: dict[str, list[float]], left: int = 10**9) -> list[float]:
    folder.path.mkdir(exist_ok=True)
    return tune(planned(), folder, Stream(folder, fids, left).launch, lambda _: None)


def test_the_best_of_the_last_step_is_chosen_and_of_equal_ones_the_methods_own(tmp_path: Path) -> None:
    """Two of three factors come to the end, so that one which is better late can win."""
    folder = SweepFolder(tmp_path)
    assert chosen(folder, FIDS) == [3.0, 1.0]
    assert all(one.race.rungs[-1].keep == 2 for one in planned())
    states = {name: folder.state(one) for tuning in planned()[:1] for one in tuning.race.jobs for name in [one.name]}
    assert sorted(states.values()) == ["completed"] * 4 + ["stopped"] * 2
    assert {one.config["seed"] for tuning in planned() for one in tuning.race.jobs} == set(SEEDS)
    budgets = {(one.race.cost(), one.race.full_cost) for one in planned()}
    assert budgets == {(2 * (3 * 30 + 2 * 60), 2 * 3 * STEPS)}, "the same for every method"


def test_higher_scores_are_chosen_where_the_metric_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEANING, "directions", {"fid_digits": "higher"})
    assert chosen(SweepFolder(tmp_path), FIDS) == [1.0, 1.0]


@pytest.mark.parametrize("killed", [0, 7, 12, 17])
def test_tuning_that_is_killed_and_continued_chooses_the_same(killed: int, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        chosen(SweepFolder(tmp_path), FIDS, left=killed)
    assert chosen(SweepFolder(tmp_path), FIDS) == [3.0, 1.0]
    assert chosen(SweepFolder(tmp_path), FIDS, left=0) == [3.0, 1.0], "nothing is trained again"


def make_folder(path: Path, factors: tuple[float, float]) -> None:
    """Two methods with the seeds 0 and 1, untuned and tuned, and a run that only chose a learning rate."""
    marked = []
    first = {objective: make_run(path / "first", f"objective={objective}") for objective in ("hinge", "stdgan")}
    for (objective, run), factor in zip(first.items(), factors, strict=True):
        for seed in (0, 1):
            base = copied(run, path / f"{objective}-{seed}", seed, 1.0, 5.0 + seed)
            tuned = base if factor == 1 else copied(run, path / f"{objective}-tuned-{seed}", seed, factor, 2.0)
            mark: Any = {"factor": factor, "untuned": base.point, "factors": FACTORS, "seeds": SEEDS, "steps": 420}
            marked += [base, replace(tuned, tuned=mark)]
    copied(run, path / FOLDER / "hinge-1000", 1000, 1.0, 0.001)
    shutil.rmtree(path / "first")
    folder = SweepFolder(path)
    folder.add(marked)
    folder.quote(marked)


def copied(run: Path, place: Path, seed: int, factor: float, fid: float) -> Job:
    """The run with another seed, learning rate and last FID."""
    shutil.copytree(run, place)
    summary = json.loads((place / "summary.json").read_text())
    config, rate = summary["config"], 0.001 * factor
    config["seed"], config["generator_optimizer"]["lr"] = seed, rate
    summary["metrics"]["last"]["fid_digits"] = fid
    rates = [] if factor == 1 else [f"generator_optimizer.lr={rate:g}"]
    summary["overrides"] = [summary["overrides"][0], *rates, f"seed={seed}"]
    (place / "summary.json").write_text(json.dumps(summary))
    return Job(place.name, summary["overrides"], config)


def test_tuned_and_untuned_tables_stand_beside_each_other(tmp_path: Path) -> None:
    make_folder(tmp_path, (3.0, 1.0))
    tuned, untuned = boards(gather([tmp_path]), "stdgan")
    assert headings([tuned, untuned]) == ["Tuned learning rates", "Untuned: each method's own learning rates"]
    shown = [{row.method: row.last("fid_digits") for row in board.rows} for board in (tuned, untuned)]
    means = [{name: spread and (spread.mean, spread.n) for name, spread in one.items()} for one in shown]
    assert means == [{"hinge": (2.0, 2), "stdgan": (5.5, 2)}, {"hinge": (5.5, 2), "stdgan": (5.5, 2)}]
    first, second = (text_tables(board)[0] for board in (tuned, untuned))
    assert first.header[:3] == ["method", "runs", "learning rates"]
    assert [row[:3] for row in first.rows] == [["hinge", "2", "3x"], ["stdgan", "2", "1x"]]
    assert "learning rates" not in second.header
    said = " ".join(notes(tuned))
    assert "chosen of 0.3, 1, 3 by a race of its own over the seeds 1000, 1001, which are in no table" in said
    assert "420 steps of training, the same for every method" in said
    assert "Chosen at an end of these factors, so that others might be better still: hinge." in said
    assert "factor" not in " ".join(notes(untuned))
    assert "their scores do not compare" not in separation([tuned, untuned])
    assert "## Untuned: each method" in markdown([tuned, untuned])
    assert comma_separated(tuned).splitlines()[0].startswith("method,learning_rate_factor,")


def test_runs_that_chose_a_rate_are_only_in_a_report_of_their_own(tmp_path: Path) -> None:
    make_folder(tmp_path, (1.0, 1.0))
    assert {result.seed for result in gather([tmp_path])} == {0, 1}
    (tmp_path / "sweep.json").unlink()
    assert {result.seed for result in gather([tmp_path])} == {0, 1}, "also without the sweep's own file"
    assert [result.seed for result in gather([tmp_path / FOLDER])] == [1000]


def test_a_claim_is_judged_by_the_methods_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that both tables have would count twice."""
    make_folder(tmp_path, (3.0, 1.0))
    seen: list[Any] = []

    def outcome(_: Any, results: Sequence[Any]) -> None:
        seen.extend(results)
        raise UserError("enough")

    monkeypatch.setattr(report, "outcome", outcome)
    with pytest.raises(UserError, match="enough"):
        report.write_report([tmp_path], tmp_path, None)
    assert sorted(result.name for result in seen) == ["hinge-0", "hinge-1", "stdgan-0", "stdgan-1"]


def test_a_dry_run_says_what_comes_before_the_table() -> None:
    assert plan_lines([]) == []
    (line,) = plan_lines(planned())
    assert line.startswith("before these, for each of 2 methods: learning rates times 0.3, 1, 3 with seeds 1000, 1001;")


def test_jobs_of_the_table_say_how_they_were_tuned() -> None:
    jobs = tuned_jobs(planned(), [3.0, 1.0], job_of)
    assert [one.config["rate"] for one in jobs] == ["a 0.003", "a 0.003", "b 0.001", "b 0.001"]
    assert [one.config["seed"] for one in jobs] == [0, 1, 0, 1]
    assert {one.name for one in jobs[2:]} == {one.name for one in TABLE if one.config["rate"].startswith("b")}
    assert jobs[0].tuned == {
        "factor": 3.0,
        "untuned": ["method=a", "seed=0"],
        "factors": FACTORS,
        "seeds": SEEDS,
        "steps": 420,
    }


@pytest.mark.slow
def test_a_tuned_sweep_from_the_command_line(tmp_path: Path) -> None:
    own = [*TINY, "steps=3", "evaluate_every=1", "device=cpu", "seed=0", "objective=hinge,stdgan"]
    tuned = [*own, "tuned=true", "tuning_seeds=[7]", "tuning_rates=[1,1000]"]
    code, out, err = swept(*tuned, cwd=tmp_path)
    assert code == 0, err
    (folder,) = (file.parent for file in tmp_path.glob("outputs/sweeps/*/*/sweep.json"))
    assert "Tuned learning rates. At the last step" in out
    assert len(list((folder / FOLDER).glob("*/summary.json"))) == 4
    assert {result.seed for result in gather([folder])} == {0}
    code, _, err = swept(*tuned, cwd=tmp_path)
    assert code == 0, err
    assert "to run" not in err
