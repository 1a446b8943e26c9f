"""Races: which settings go on is a function of the scores, and of nothing else."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gan_cli.errors import EndError, UserError
from gan_cli.files import slug
from gan_cli.leaderboard.results import gather
from gan_cli.sweep.command_line import prepare
from gan_cli.sweep.race import Race, Rung, plan_text, races, run_races, rungs, survivors
from gan_cli.sweep.sweep_folder import ENDED, Job, SweepFolder, fingerprint

from ..conftest import TINY, Command
from ..leaderboard.folders import MEANING, make_run
from ..outcome import assert_equal, outcome
from .test_sweep import only_sweep, rows, swept

STEPS, EVERY = 90, 10


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about power failures, and a file that waits for the disk takes most of the time."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def test_rungs_are_at_powers_of_the_factor_and_leave_one_in_so_many() -> None:
    assert rungs(27, 2700, 100, factor=3) == [Rung(100, 9), Rung(300, 3), Rung(900, 1)]
    assert rungs(8, 800, 1, factor=2) == [Rung(100, 4), Rung(200, 2), Rung(400, 1)]
    assert rungs(2, 90, 10, factor=3) == [Rung(30, 1)]
    assert rungs(11, 3000, 500, factor=3) == [Rung(500, 3), Rung(1000, 1)], "333 is no evaluation, 500 is the next"
    assert rungs(3, 3000, 500, factor=3, least=2) == [Rung(1000, 2)]
    assert rungs(1, 90, 10, factor=3) == []


def test_evaluations_far_apart_mean_fewer_rungs_and_more_settings_at_the_end() -> None:
    assert rungs(27, 2700, 900, factor=3) == [Rung(900, 9)]
    assert rungs(27, 2700, 2700, factor=3) == rungs(27, 2700, 0, factor=3) == []


@pytest.mark.parametrize(
    ("scores", "keep", "lower", "higher"),
    [
        ([3.0, 1.0, 2.0, 4.0], 2, [1, 2], [0, 3]),
        ([1.0, 2.0, 2.0, 3.0], 2, [0, 1, 2], [1, 2, 3]),  # equal to the last that stays
        ([5.0, 5.0, 5.0], 1, [0, 1, 2], [0, 1, 2]),
        ([None, 2.0, None, 1.0], 1, [3], [1]),
        ([None, 2.0, float("nan"), float("inf"), -float("inf")], 4, [1], [1]),  # lost ones never stay
        ([None, None], 1, [], []),
        ([], 1, [], []),
        ([2.0, 1.0], 5, [0, 1], [0, 1]),
        ([-1.0, 0.0, 1.0], 1, [0], [2]),
    ],
)
def test_the_best_stay(scores: list[float | None], keep: int, lower: list[int], higher: list[int]) -> None:
    assert survivors(scores, keep, "lower") == lower
    assert survivors(scores, keep, "higher") == higher
    negated = [None if score is None else -score for score in scores]
    assert survivors(negated, keep, "higher") == lower


def job(rate: int | str, seed: int, **changes: Any) -> Job:
    config = {
        "seed": seed,
        "steps": STEPS,
        "evaluate_every": EVERY,
        "dataset": {"name": "made up"},
        "num_eval_images": None,
        "evaluation_seed": 0,
        "rate": rate,
        "objective": {"_target_": "x"},
        "latent_sampler": {"_target_": "x"},
    } | changes
    return Job(f"rate-{slug(str(rate))}-seed-{seed}-{fingerprint(config)}", [f"rate={rate}", f"seed={seed}"], config)


GRID = [job(rate, seed) for seed in range(2) for rate in range(9)]
MADE_UP = {rate: [100.0 - rate] * 9 for rate in range(9)} | {7: [93.0] * 3 + [1000.0] * 6}
LOST = {(8, 1): 20}  # the best setting has a seed that diverges after this step


class Stream:
    """Runs whose FIDs are made up, a value for each evaluation; `left` jobs run before a kill."""

    def __init__(self, folder: SweepFolder, fids: Mapping[Any, list[float]], left: int = 10**9) -> None:
        self.folder, self.fids, self.left = folder, fids, left
        self.trained = 0  # steps

    def launch(self, jobs: Sequence[Job]) -> None:
        for one in jobs:
            self.left -= 1
            run = self.folder.run(one.name)
            run.path.mkdir(exist_ok=True)
            rate, seed = one.config["rate"], one.config["seed"]
            (run.path / "summary.json").unlink(missing_ok=True)
            known = run.records()[-1]["step"] if run.metrics.exists() else 0
            end = min(one.pause_at or STEPS, LOST.get((rate, seed), STEPS))
            fids = {step: self.fids[rate][step // EVERY - 1] + seed for step in range(EVERY, end + 1, EVERY)}
            lines = [{"step": step, "metrics": {"fid_digits": fid}} for step, fid in fids.items()]
            run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
            self.trained += end - known
            if self.left < 0:
                raise KeyboardInterrupt
            status = "completed" if end == STEPS else "interrupted" if end == one.pause_at else "diverged"
            metrics = {"last": {"fid_digits": fids[end]}, "best": {}, "trajectory": {}, **MEANING}
            summary = {"status": status, "step": end, "metrics": metrics, "protocol": {}, "cost": {}}
            (run.path / "summary.json").write_text(json.dumps(summary))

    def race(self, jobs: Sequence[Job] = GRID) -> tuple[list[Race], list[str]]:
        """As gan-sweep does: what ended is left alone, and how the others ended before is forgotten."""
        said: list[str] = []
        self.folder.add(one for one in jobs if self.folder.state(one) not in ENDED)
        left = run_races(races(jobs, 3), self.folder, self.launch, said.append)
        self.launch([one for race in left for one in race.jobs if self.folder.state(one) not in ENDED])
        return left, said


def states(folder: SweepFolder) -> dict[str, str]:
    return dict(folder.states(GRID))


def test_the_worst_stop_at_each_rung_and_a_lost_seed_is_worse_than_any_score(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    stream = Stream(folder, MADE_UP)
    ((race,), said) = stream.race()
    # at step 10: 6, 7 and 8 stay; at step 30 setting 8 has lost a seed, and 7 is still good; then only 7 goes on
    assert [setting.jobs[0].config["rate"] for setting in race.settings] == [7]
    found = states(folder)
    expected = {one.name: "stopped" for one in GRID}
    expected |= {job(7, 0).name: "completed", job(7, 1).name: "completed", job(8, 1).name: "diverged"}
    assert found == expected
    assert folder.how_it_ended(job(0, 0).name)["error"] == "stopped at step 10 of 90 by the race"
    assert folder.how_it_ended(job(8, 0).name)["error"] == "stopped at step 30 of 90 by the race"
    assert "  stopped  rate=8  lost" in said
    assert "  goes on  rate=7  fid_digits 93.5" in said
    cost = races(GRID, 3)[0].cost()
    assert cost == 2 * (9 * 10 + 3 * 20 + 60)
    assert stream.trained == cost - 10, "the diverged seed did 10 steps fewer"
    assert plan_text(races(GRID, 3))[-1] == f"{cost} steps in place of the 1,620 of the whole grid (26%)"


def test_higher_scores_win_where_the_metric_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEANING, "directions", {"fid_digits": "higher"})
    ((race,), _) = Stream(SweepFolder(tmp_path), MADE_UP).race()
    assert [setting.jobs[0].config["rate"] for setting in race.settings] == [0]


@pytest.mark.parametrize("killed", [0, 8, 9, 11, 12])
def test_killed_after_any_number_of_jobs_and_continued_it_decides_the_same(killed: int, tmp_path: Path) -> None:
    whole, folder = SweepFolder(tmp_path / "whole"), SweepFolder(tmp_path / "killed")
    for place in (whole, folder):
        place.path.mkdir()
    jobs = GRID[:9]  # of one seed: nine of them come to the first rung, three to the second, and one to the end
    _, said = Stream(whole, MADE_UP).race(jobs)
    with pytest.raises(KeyboardInterrupt):
        Stream(folder, MADE_UP, left=killed).race(jobs)
    assert Stream(folder, MADE_UP).race(jobs)[1] == said
    assert states(folder) == states(whole)
    again = Stream(folder, MADE_UP)
    assert again.race(jobs)[1] == said
    assert again.trained == 0


def test_a_job_that_fails_is_worst_now_and_has_another_try_with_the_next_command(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)

    class Failing(Stream):
        def launch(self, jobs: Sequence[Job]) -> None:
            super().launch([one for one in jobs if one.config["rate"] != 7])
            for one in jobs:
                if one.config["rate"] == 7:
                    self.folder.ended(one.name, 1, "no luck")

    ((race,), _) = Failing(folder, MADE_UP).race()
    assert [setting.jobs[0].config["rate"] for setting in race.settings] == [6]
    assert folder.state(job(7, 0)) == "failed"
    ((race,), _) = Stream(folder, MADE_UP).race()
    assert [setting.jobs[0].config["rate"] for setting in race.settings] == [7]
    assert folder.state(job(6, 0)) == "completed", "what has ended keeps its result"


def test_a_job_that_was_interrupted_decides_nothing(tmp_path: Path) -> None:
    class Preempted(Stream):
        def launch(self, jobs: Sequence[Job]) -> None:
            super().launch(jobs[1:])

    with pytest.raises(EndError, match="1 jobs have not come to the rung at step 10: the same command continues"):
        Preempted(SweepFolder(tmp_path), MADE_UP).race()
    assert "stopped" not in states(SweepFolder(tmp_path)).values()


def test_jobs_without_scores_cannot_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("leading", "directions"):
        monkeypatch.delitem(MEANING, key)
    with pytest.raises(EndError, match="decided by scores, and these jobs have none"):
        Stream(SweepFolder(tmp_path), MADE_UP).race()


def test_each_set_of_images_has_a_race_of_its_own(tmp_path: Path) -> None:
    jobs = [job(rate, 0, dataset={"name": name}) for rate in range(3) for name in ("one", "other")]
    left, _ = Stream(SweepFolder(tmp_path), MADE_UP).race(jobs)
    assert [[one.config["dataset"]["name"] for one in race.jobs] for race in left] == [["one"], ["other"]]


@pytest.mark.parametrize(
    ("jobs", "factor", "said"),
    [
        (GRID, 1, "race_factor=1 must be at least 2"),
        ([job(0, 0), job(0, 1)], 3, "besides seeds: sweep a key"),
        ([job(0, 0), job(1, 0, steps=30)], 3, "the same steps in all its jobs, not 30, 90"),
        ([job(0, 0), job(1, 0, evaluate_every=0)], 3, "the same evaluate_every in all its jobs, not 0, 10"),
        ([job(rate, 0, evaluate_every=0) for rate in (0, 1)], 3, "give evaluate_every=30 or less"),
        ([job(rate, 0, evaluate_every=90) for rate in (0, 1)], 3, "give evaluate_every=30 or less"),
    ],
)
def test_what_cannot_be_raced_is_refused(jobs: list[Job], factor: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        races(jobs, factor)


def test_a_search_is_not_raced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["gan-sweep", "hydra/sweeper=optuna", "race=true"])
    with pytest.raises(UserError, match="a search chooses its own: remove race=true"):
        prepare()


def test_stopped_runs_are_counted_and_have_no_score(tmp_path: Path) -> None:
    folder, jobs = SweepFolder(tmp_path), []
    for objective, status in (("hinge", "completed"), ("stdgan", "interrupted")):
        run = make_run(tmp_path, f"objective={objective}", status=status)
        config = json.loads((run / "summary.json").read_text())["config"]
        jobs.append(Job(run.name, [f"objective={objective}", "seed=0"], config))
    folder.add(jobs)
    folder.stop(jobs[1], 10)
    first, second = gather([tmp_path])
    assert (first.state, second.state, second.scores) == ("completed", "stopped", {})
    assert second.error == "stopped at step 10 of 30 by the race"


POINTS = ["model=mlp", "dataset=grid3", "dataset.points_per_mode=8", "batch_size=4", "num_eval_images=16"]
POINTS += ["model.generator.hidden=[8]", "model.discriminator.hidden=[8]", "device=cpu", "log_every=1"]


@pytest.mark.slow
def test_a_paused_run_continues_to_where_one_without_a_pause_ends(command: Command) -> None:
    """Bitwise, also with a learning rate that falls until the last step."""
    falling = "generator_optimizer.lr={start: 0.01, end: 0.0, until: 6, shape: linear}"
    every = ["steps=6", "evaluate_every=2", "checkpoint_every=3", falling]
    assert command("train", *POINTS, *every, "run_dir=whole")[0] == 0
    code, _, err = command("train", *POINTS, *every, "run_dir=run", "pause_at=2")
    assert code == 0
    assert "paused at step 2; continue with: gan-train resume=run" in err
    said = json.loads(Path("run/summary.json").read_text())
    assert (said["status"], said["step"], said["metrics"]["leading"]) == ("interrupted", 2, "modes_covered")
    before = Path("run/metrics.jsonl").read_bytes()
    assert command("train", *POINTS, *every, "run_dir=run", "pause_at=2")[0] == 0
    assert Path("run/metrics.jsonl").read_bytes() == before, "it is there already"
    assert command("train", "resume=run", "pause_at=4", "device=cpu")[0] == 0
    assert json.loads(Path("run/summary.json").read_text())["step"] == 4
    assert command("train", *POINTS, *every, "run_dir=run")[0] == 0
    assert_equal(outcome(Path("run")), outcome(Path("whole")))
    code, _, err = command("train", *POINTS, *every, "pause_at=0")
    assert (code, "pause_at=0 must be at least 1" in err) == (2, True)


@pytest.mark.slow
def test_a_race_from_the_command_line(tmp_path: Path) -> None:
    """Its winner is bitwise the run without a race; without race=true the stopped one goes on to the end."""
    own = [*TINY, "steps=4", "evaluate_every=2", "checkpoint_every=3", "device=cpu", "seed=0", "objective=hinge,stdgan"]
    raced = [*own, "race=true", "race_factor=2"]
    code, out, _ = swept(*raced, "dry_run=true", cwd=tmp_path)
    assert code == 0
    assert out.splitlines()[-4:] == [
        "race: 2 settings with 1 seeds each, 4 steps",
        "      to step 2: 2 settings, of which 1 stay",
        "      to step 4: 1",
        "6 steps in place of the 8 of the whole grid (75%)",
    ]
    assert not list(tmp_path.iterdir())
    code, out, err = swept(*raced, cwd=tmp_path)
    assert code == 0, err
    assert "0 of 1 (1 stopped)" in out
    folder = only_sweep(tmp_path)
    found = {method: (row["completed"], row["stopped"]) for method, row in rows(folder).items()}
    assert sorted(found.values()) == [("0", "1"), ("1", "0")]
    (winner,) = [method for method, counted in found.items() if counted == ("1", "0")]
    (loser,) = set(found) - {winner}
    (run,) = folder.glob(f"{winner}-seed-0-*")
    alone = [*(word for word in own if not word.startswith("objective=")), f"objective={winner}", "run_dir=alone"]
    assert swept(*alone, cwd=tmp_path, name="gan-train")[0] == 0
    assert_equal(outcome(run), outcome(tmp_path / "alone"))
    shutil.rmtree(tmp_path / "alone")

    code, _, err = swept(*own, cwd=tmp_path)
    assert code == 0, err
    assert "1 to run" in err
    assert {method: row["completed"] for method, row in rows(folder).items()} == {winner: "1", loser: "1"}
    (other,) = folder.glob(f"{loser}-seed-0-*")
    sessions = [json.loads(line)["step"] for line in (other / "sessions.jsonl").read_text().splitlines()]
    assert sessions == [0, 2], "from where it was stopped"
