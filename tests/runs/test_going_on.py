"""A run that goes on beyond its end, and a new run that begins with another one's weights."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gan_cli.config.read import read_config
from gan_cli.experiment import Experiment
from gan_cli.iteration import Step
from gan_cli.leaderboard.results import gather
from gan_cli.runs.checkpoint import complete, find
from gan_cli.runs.formats import read_summary
from gan_cli.runs.initial import initial_of, initialized
from gan_cli.sweep.plan import read_run
from gan_cli.trainer import train

from ..conftest import Command, composed_config, tiny_data
from ..outcome import assert_equal, outcome

POINTS = ["model=mlp", *tiny_data("mlp"), "device=cpu", "log_every=1", "evaluate_every=2", "checkpoint_every=2"]


def state_of(run: str) -> dict[str, torch.Tensor]:
    return load_file(complete(Path(run) / "checkpoints")[-1] / "state.safetensors")


def test_a_completed_run_goes_on_to_where_a_longer_one_ends(command: Command) -> None:
    """Bitwise, with records of step 3 besides, which was the last; a schedule ends where it ended."""
    rising = "ema_decay={start: 0.05, end: 0.2, until: 3, shape: linear}"
    assert command("train", *POINTS, rising, "run_dir=long", "steps=6")[0] == 0
    assert command("train", *POINTS, rising, "run_dir=run", "steps=3")[0] == 0
    code, _, err = command("train", "resume=run", "steps=6", "device=cpu")
    assert code == 0, err
    (state, records, summary, pictures), (theirs, long_records, long_summary, long_pictures) = map(
        outcome, (Path("run"), Path("long"))
    )
    assert_equal(state, theirs)
    assert [record for record in records if "metrics" in record and record["step"] == 3], "it was its last step"
    assert [r for r in records if not ("metrics" in r and r["step"] == 3)] == long_records
    assert {name: pictures[name] for name in long_pictures} == long_pictures
    assert set(pictures) - set(long_pictures) == {"00000003.png"}
    assert (summary["status"], summary["step"], summary["config"]) == ("completed", 6, long_summary["config"])
    assert summary["metrics"]["last"] == long_summary["metrics"]["last"]

    said = read_summary(Path("run"))
    assert [(session["step"], session["steps"]) for session in said["sessions"]] == [(0, 3), (3, 6)]
    assert [override for override in said["overrides"] if override.startswith("steps")] == ["steps=6"]
    assert command("train", *POINTS, rising, "run_dir=run", "steps=6")[0] == 0, "it is the run of this command now"
    assert read_summary(Path("run"))["sessions"] == said["sessions"], "and is complete"


@pytest.mark.slow
def test_what_was_asked_for_outlives_a_kill_before_the_next_checkpoint(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def dying(*arguments: object) -> None:
        raise Killed

    assert command("train", *POINTS, "run_dir=run")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("gan_cli.runs.run.Run.loop", dying)
        patch.setattr("gan_cli.runs.run.Run.finish", lambda *arguments: None)
        with pytest.raises(Killed):
            command("train", "resume=run", "steps=5")
    code, _, err = command("train", "resume=run")
    assert (code, read_summary(Path("run"))["step"]) == (0, 5), err


@pytest.mark.slow
def test_steps_that_cannot_be_reached_are_refused(command: Command) -> None:
    assert command("train", *POINTS, "run_dir=run")[0] == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    too_few = "steps={} is less than the 3 that are trained: give more, or leave it out"
    for steps, problem in (
        ("2", too_few.format(2)),
        ("0", too_few.format(0)),
        ("many", "steps=many must be"),
        ("10000000000", "steps=10000000000 must be at most 1,000,000,000"),
    ):
        code, _, err = command("train", "resume=run", f"steps={steps}")
        assert (code, len(err.splitlines())) == (2, 1), err
        assert problem in err
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    code, _, err = command("train", *POINTS, "run_dir=run", "steps=5")
    assert code == 2
    assert err.endswith("choose another run_dir, or let it go on: gan-train resume=run steps=5\n")


def test_a_second_signal_names_the_step_that_is_saved(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(experiment: Experiment, first_step: int) -> Iterator[Step]:
        for done in train(experiment, first_step):
            if done.number == 4:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)
            yield done

    monkeypatch.setattr("gan_cli.runs.run.train", impatient)
    code, _, err = command("train", *POINTS, "run_dir=run", "steps=5")
    assert code == 130
    assert err.endswith("interrupted at step 3, saved at step 2; continue with: gan-train resume=run\n")
    assert find(Path("run"), "latest").step == 2


@pytest.mark.slow
def test_a_new_run_begins_with_the_weights_of_another_and_with_nothing_else(command: Command) -> None:
    assert command("train", *POINTS, "run_dir=first", "regularizer=spectral_norm")[0] == 0
    given = [*POINTS, "regularizer=spectral_norm", "seed=1", "run_dir=run"]
    code, _, err = command("train", *given, "init_from=first", "keep_checkpoints=9", "objective=hinge")
    assert code == 0, err
    initial = load_file(Path("run/checkpoints/step-00000000/state.safetensors"))
    trained = state_of("first")
    networks = ("generator/", "discriminator/", "ema_generator/")
    weights = {name: tensor for name, tensor in trained.items() if name.startswith(networks)}
    assert {name.split("/")[0] for name in weights} == {name.rstrip("/") for name in networks}
    assert_equal({name: initial[name] for name in weights}, weights)
    assert not [name for name in initial if "optimizer" in name], "none has stepped yet"
    summary = read_summary(Path("run"))
    found = find(Path("first"), "latest")
    assert summary["config"]["init_from"] == {"sha256": found.state["sha256"], "step": 3}  # type: ignore[typeddict-item]
    assert "first" not in json.dumps(summary["config"])
    shutil.rmtree("first")
    assert command("train", "resume=run", "steps=5", "device=cpu")[0] == 0, "the source is not needed any more"
    assert command("eval", "checkpoint=run", "device=cpu")[0] == 0


@pytest.mark.slow
def test_weights_that_do_not_fit_are_refused_before_anything_is_written(command: Command) -> None:
    assert command("train", *POINTS, "run_dir=first", "steps=1", "regularizer=none")[0] == 0
    for changes, problem in (
        (["model.generator.hidden=[9]"], "generator/"),
        (["regularizer=spectral_norm"], "discriminator/"),
        (["init_from=nowhere"], "init_from=nowhere does not exist"),
        (["init_from=first/samples"], "init_from=first/samples is neither a run folder nor a checkpoint"),
    ):
        code, _, err = command("train", *POINTS, "regularizer=none", "run_dir=run", "init_from=first", *changes)
        assert (code, len(err.splitlines())) == (2, 1), err
        assert problem in err
        assert not Path("run").exists()


@pytest.mark.slow
def test_the_weights_that_a_run_began_with_are_part_of_the_method_by_their_digest(command: Command) -> None:
    assert command("train", *POINTS, "run_dir=first", "steps=1")[0] == 0
    shutil.copytree("first", "copy")
    assert command("train", *POINTS, "run_dir=other", "steps=1", "seed=1")[0] == 0

    def planned(*more: str) -> Any:
        return read_run(composed_config(*POINTS, *more))

    assert planned("init_from=first") == planned("init_from=copy") != planned("init_from=other")
    assert planned("init_from=first") | {"init_from": None} == planned() | {"init_from": None}
    config, options = read_config(composed_config(*POINTS, "init_from=first"))
    assert planned("init_from=first") == initialized(config, initial_of(options))
    for name in ("first", "other"):
        assert command("train", *POINTS, f"run_dir=runs/{name}", f"init_from={name}", "steps=1")[0] == 0
    first, second = gather([Path("runs")])
    assert first.method != second.method
