"""A search averages each trial over seeds, and its value is the table's."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobStatus
from omegaconf import DictConfig, OmegaConf

from gan_cli.config.compose import compose, loader
from gan_cli.errors import UserError
from gan_cli.leaderboard.boards import boards
from gan_cli.leaderboard.results import gather
from gan_cli.sweep import sweep
from gan_cli.sweep.command_line import continued, prepare
from gan_cli.sweep.sweep_folder import Job, SweepFolder

from ..conftest import TINY
from ..leaderboard.folders import PROTOCOL
from .test_sweep import QUICK, swept

SEARCH = ["seed=0", "objective=hinge", *TINY]  # what a sweeper hands to its launcher
FIDS = {3: 1.0, 4: 2.5}


def finish(path: Path, config: Mapping[str, Any], overrides: Sequence[str], status: str = "completed") -> None:
    scores = {"fid_digits": FIDS[config["seed"]]}
    path.mkdir(parents=True, exist_ok=True)
    metrics = {"last": scores, "best": scores, "trajectory": {}, "leading": "fid_digits"}
    summary = {"status": status, "step": 3, "metrics": metrics, "protocol": PROTOCOL, "cost": {}}
    (path / "summary.json").write_text(json.dumps(summary | {"config": config, "overrides": list(overrides)}))


@pytest.mark.parametrize("lost", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_trial_runs_every_seed_and_its_value_is_their_mean(
    lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_all(jobs: Sequence[Job], folder: SweepFolder, *given: Any, **more: Any) -> None:
        for job in jobs:
            status = "diverged" if lost and job.config["seed"] == 4 else "completed"
            finish(folder.path / job.name, job.config, job.point, status)

    monkeypatch.setattr(sweep, "run_all", run_all)
    config = compose("sweep", [f"sweep_dir={tmp_path}", "seeds=[3,4]", "device=cpu"], with_hydra=True)
    first, again = sweep.launch_jobs(config, [SEARCH, SEARCH], loader(), lambda _: None, ["gan-sweep", "a b"])
    assert SweepFolder(tmp_path).read()["command"] == ["gan-sweep", "a b"]
    (board,) = boards(gather([tmp_path]), None)
    (row,) = board.rows
    assert [result.seed for result in row.results] == [3, 4]
    if lost:
        assert first.status == again.status == JobStatus.FAILED
        with pytest.raises(Exception, match=r"seed-4-\w+ is diverged"):
            first.return_value  # noqa: B018
    else:
        shown = row.last("fid_digits")
        assert shown is not None
        assert first.return_value == again.return_value == shown.mean == 1.75


def test_a_trial_in_a_process_of_another_launcher_runs_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(config: Any, options: Any, overrides: list[str], *given: Any) -> None:
        assert f"seed={config['seed']}" in overrides
        finish(Path(options["run_dir"]), config, overrides)

    monkeypatch.setattr(sweep, "train", train)
    given = [*SEARCH, f"sweep_dir={tmp_path}", "seeds=[3,4]"]
    assert sweep.run_job(compose("sweep", given), given) == 1.75
    assert len(list(tmp_path.glob("*/summary.json"))) == 2


@pytest.mark.parametrize(
    "typed", ["seed=0,1,2", "seed=range(0,3)", "seed=0,1,2,0", "+hydra.sweeper.params.seed='range(0,3)'"]
)
def test_a_search_is_not_given_the_seeds(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["gan-sweep", "hydra/sweeper=optuna", "objective=hinge", typed])
    assert prepare() is not None
    assert sys.argv[1:5] == ["--multirun", "hydra/sweeper=optuna", "objective=hinge", "seed=0"]
    assert "seeds=[0,1,2]" in sys.argv[5:]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["hydra/sweeper=optuna", "seed=interval(0,9)"], "seeds are not searched"),
        (["objective=hinge", "seeds=[0,1]"], "seeds are given as seed=0,1,2"),
    ],
)
def test_seeds_that_cannot_be_averaged_are_refused(
    typed: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["gan-sweep", *typed])
    with pytest.raises(UserError, match=said):
        prepare()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]])
def test_optunas_best_value_is_the_tables(launcher: list[str], tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "seed=0,1"]
    code, _, err = swept(
        *search, *launcher, "hydra.sweeper.direction=minimize", "objective=hinge", "sweep_dir=mine", *QUICK,
        "discriminator_optimizer.lr=interval(1e-4,1e-2)", cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, err
    (board,) = boards(gather([tmp_path / "mine"]), None)
    best = board.rows[0].last("fid_digits")
    assert best is not None
    assert best.n == 2
    found = OmegaConf.load(tmp_path / "mine" / "optimization_results.yaml")
    assert found["best_value"] == best.mean
    assert f"={found['best_params']['discriminator_optimizer.lr']}" in board.rows[0].method


@pytest.mark.slow
def test_a_search_goes_on_after_the_trials_that_are_in_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_jobs=2", "hydra.sweeper.direction=minimize", "seed=0"]
    search += ["objective=hinge", "discriminator_optimizer.lr=interval(1e-4,1e-2)", *QUICK]
    code, _, err = swept(*search, "hydra.sweeper.n_trials=2", cwd=tmp_path)
    assert code == 0, err
    first = sorted(tmp_path.glob("outputs/sweeps/*/*/*/summary.json"))
    times = [file.stat().st_mtime_ns for file in first]
    first[0].unlink()  # as if it had been killed
    code, _, err = swept(*search, "hydra.sweeper.n_trials=3", cwd=tmp_path)
    assert code == 0, err
    assert err.count("1 to run") == 2, "the one that was killed, and a new one"
    found = sorted(tmp_path.glob("outputs/sweeps/*/*/*/summary.json"))
    assert len(found) == 3
    assert set(first) < set(found)
    assert first[1].stat().st_mtime_ns == times[1]


def test_a_search_whose_sampler_takes_no_seed_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def composed(sampler: str) -> DictConfig:
        return OmegaConf.create(f"hydra: {{sweeper: {{max_failure_rate: 0.0, sampler: {sampler}}}}}")  # type: ignore[return-value]

    typed = OverridesParser.create().parse_overrides(["hydra/sweeper=optuna", "hydra.sweeper.sampler.seed=3"])
    for sampler, expected in {
        "{seed: null}": ["hydra.sweeper.max_failure_rate=1.0", "hydra.sweeper.sampler.seed=0"],
        "{seed: 3}": ["hydra.sweeper.max_failure_rate=1.0"],
        "{}": ["hydra.sweeper.max_failure_rate=1.0"],
        "null": ["hydra.sweeper.max_failure_rate=1.0"],
    }.items():
        monkeypatch.setattr("gan_cli.sweep.command_line.compose", lambda *_, with_hydra, s=sampler: composed(s))
        assert continued(typed) == expected
        own = [*typed, *OverridesParser.create().parse_overrides(["hydra.sweeper.storage=x"])]
        assert continued(own) == ["hydra.sweeper.max_failure_rate=1.0"]
    rate = OverridesParser.create().parse_overrides(["hydra.sweeper.max_failure_rate=0.5"])
    assert continued(rate) == []  # of the last sampler, which takes no seed
