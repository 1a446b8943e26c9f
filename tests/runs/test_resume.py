"""A run that is killed and continued ends bitwise where an undisturbed one does."""

import json
import os
import shutil
import signal
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gan_cli.commands.evaluate import evaluate
from gan_cli.commands.train import resume
from gan_cli.commands.train import train as gan_train
from gan_cli.config.read import read_config, read_evaluation, read_resuming
from gan_cli.errors import CheckpointError, DivergedError, InterruptedRunError, UserError
from gan_cli.experiment import Experiment
from gan_cli.iteration import Step
from gan_cli.metrics.feature_metrics import FeatureScorer
from gan_cli.runs import run as runner
from gan_cli.runs.checkpoint import complete, named, newest
from gan_cli.runs.folder import RunFolder
from gan_cli.trainer import train

from ..conftest import TINY, composed_config
from ..outcome import assert_equal, outcome
from ..third_party import chosen

STEPS = 6
OVERRIDES = [
    *TINY,
    f"steps={STEPS}",
    "regularizer=[r1,spectral_norm]",
    "log_every=1",
    "sample_every=3",
    "evaluate_every=2",
    "checkpoint_every=2",
    "device=cpu",
]
DRS = "latent_sampler.num_burn_in=16"
QUICK_KILLS = [("realness", 4, False)]
OBJECTIVES = {"stdgan": [], "realness": ["num_outcomes=5"], "wgan_gp": ["discriminator_steps=2"]}


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def train_in(folder: Path, objective: str, *more: str) -> None:
    """What gan-train run_dir=<folder> does."""
    overrides = [*OVERRIDES, f"objective={objective}", *OBJECTIVES[objective], f"run_dir={folder}", *more]
    config, options = read_config(composed_config(*overrides))
    gan_train(config, options, overrides, "", "test")


def kill(monkeypatch: pytest.MonkeyPatch, step: int, *, after_report: bool) -> None:
    """Ends the next run during `step`: before it is reported, or after all of it is saved."""

    def dying(experiment: Experiment, first_step: int) -> Iterator[Step]:
        for done in train(experiment, first_step):
            if done.number == step and not after_report:
                raise Killed
            yield done
            if done.number == step:
                raise Killed

    monkeypatch.setattr(runner, "train", dying)
    monkeypatch.setattr(runner.Run, "finish", lambda self, status, error: None)


def start_and_kill(folder: Path, objective: str, step: int, *more: str, after_report: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, step, after_report=after_report)
        with pytest.raises(Killed):
            train_in(folder, objective, *more)


class Undisturbed(dict[str, Path]):
    """The folder of a run of each objective, trained when it is first asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self.factory = factory

    def __missing__(self, objective: str) -> Path:
        self[objective] = self.factory.mktemp(objective) / "run"
        train_in(self[objective], objective)
        return self[objective]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return Undisturbed(tmp_path_factory)


@pytest.mark.parametrize(
    ("objective", "step", "after_report"),
    [
        pytest.param(*case, marks=() if case in QUICK_KILLS else pytest.mark.slow)
        for case in product(OBJECTIVES, range(1, STEPS + 1), [False, True])
    ],
)
def test_killed_at_any_step_and_continued(
    objective: str, step: int, after_report: bool, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    start_and_kill(tmp_path / "run", objective, step, after_report=after_report)
    train_in(tmp_path / "run", objective)
    assert_equal(outcome(tmp_path / "run"), outcome(undisturbed[objective]))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(["conditioning=auxiliary"], marks=pytest.mark.slow),
        pytest.param(["conditioning=projection", "latent_sampler=drs", DRS], marks=pytest.mark.slow),
        pytest.param(["conditioning=twin_logits", "generator_labels=shared_batch_norm"], marks=pytest.mark.slow),
        pytest.param(["conditioning=d2d_ce"], marks=pytest.mark.slow),
        pytest.param(["conditioning=concat", "latent_sampler=advlat_div"], marks=pytest.mark.slow),
        pytest.param(["num_evaluation_seeds=2"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_labels_survive_a_kill_and_are_scored_the_same_later(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, more = tmp_path / "run", [*more, "num_eval_images=64"]
    train_in(tmp_path / "whole", "stdgan", *more)
    start_and_kill(folder, "stdgan", 3, *more, after_report=False)
    train_in(folder, "stdgan", *more)
    assert_equal(outcome(folder), outcome(tmp_path / "whole"))
    capsys.readouterr()
    overrides = [f"checkpoint={folder}", f"out={tmp_path / 'scores'}", "device=cpu"]
    evaluate(read_evaluation(composed_config(*overrides, config_name="eval"), overrides, None))
    scores = json.loads(capsys.readouterr().out)["metrics"]
    assert scores == json.loads((folder / "summary.json").read_text())["metrics"]["last"]


@pytest.mark.slow
def test_the_comparison_sees_a_lost_seed(undisturbed: dict[str, Path], tmp_path: Path) -> None:
    """Without the seeding of each step, a continued run would differ: the test above can fail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan_cli.engine.seed_step", lambda *args: None)
        train_in(tmp_path / "run", "stdgan")
    with pytest.raises(AssertionError):
        assert_equal(outcome(tmp_path / "run"), outcome(undisturbed["stdgan"]))


def test_a_finished_run_is_left_alone(undisturbed: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = undisturbed["stdgan"]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
    monkeypatch.setattr(runner, "train", lambda *args: pytest.fail("it trained again"))
    train_in(folder, "stdgan")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"} == before


def test_a_run_of_a_version_with_fewer_settings_is_the_same_run(
    undisturbed: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(undisturbed["stdgan"], folder)
    for file in folder.glob("checkpoints/*/meta.json"):
        meta = json.loads(file.read_text())
        assert meta["config"].pop("ema_snapshots_every") == 0
        file.write_text(json.dumps(meta))
    monkeypatch.setattr(runner, "train", lambda *args: pytest.fail("it trained again"))
    train_in(folder, "stdgan")
    with pytest.raises(UserError, match=r"another config \(ema_snapshots_every: absent -> 5\)"):
        train_in(folder, "stdgan", "ema_snapshots_every=5")


def test_a_changed_config_is_refused_with_a_diff(undisturbed: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"another config \(batch_size: 4 -> 8; dataset.image_size: 16 -> 32\)"):
        train_in(undisturbed["stdgan"], "stdgan", "batch_size=8", "dataset.image_size=32")


def test_resume_continues_a_run_as_it_was_started(undisturbed: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    start_and_kill(folder, "realness", 4, after_report=False)
    overrides = [f"resume={folder}", "device=cpu"]
    with pytest.raises(UserError, match="remove batch_size=9"):
        read_resuming(composed_config(*overrides, "batch_size=9"), [*overrides, "batch_size=9"])
    resume(read_resuming(composed_config(*overrides), overrides))
    assert_equal(outcome(folder), outcome(undisturbed["realness"]))


@pytest.mark.parametrize(
    "damage",
    ["truncated", pytest.param("flipped", marks=pytest.mark.slow), pytest.param("no meta", marks=pytest.mark.slow)],
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    damage: str, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    start_and_kill(folder, "stdgan", 5, after_report=False)
    newest = complete(folder / "checkpoints")[-1]
    content = (newest / "state.safetensors").read_bytes()
    if damage == "truncated":
        (newest / "state.safetensors").write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        (newest / "state.safetensors").write_bytes(
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        )
    else:
        (newest / "meta.json").unlink()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train_in(folder, "stdgan")
    assert any("using the one before" in str(line.message) for line in said) == (damage != "no meta")
    assert_equal(outcome(folder), outcome(undisturbed["stdgan"]))


def test_no_undamaged_checkpoint_is_an_error_not_a_fresh_start(undisturbed: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    start_and_kill(folder, "stdgan", 3, after_report=False)
    for checkpoint in complete(folder / "checkpoints"):
        (checkpoint / "state.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no undamaged checkpoint is left"):
        train_in(folder, "stdgan")


def test_a_torn_last_line_of_metrics_is_forgotten(undisturbed: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    start_and_kill(folder, "stdgan", 5, after_report=False)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "los')
    train_in(folder, "stdgan")
    assert_equal(outcome(folder), outcome(undisturbed["stdgan"]))


def test_only_the_newest_and_the_best_checkpoints_are_kept(undisturbed: dict[str, Path]) -> None:
    for objective, folder in undisturbed.items():
        checkpoints = folder / "checkpoints"
        best = json.loads((folder / "summary.json").read_text())["metrics"]["best_step"]
        assert {path.name for path in complete(checkpoints)} == {f"step-{step:08d}" for step in {4, 6, best}}, objective
        assert named(checkpoints, "best") == checkpoints / f"step-{best:08d}"
        assert named(checkpoints, "latest") == checkpoints / f"step-{STEPS:08d}"


def test_two_processes_never_share_a_folder(undisturbed: dict[str, Path], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.locked(), pytest.raises(UserError, match="being written by another process"):
        train_in(tmp_path, "stdgan")


def test_a_loss_that_is_not_finite_ends_the_run_with_its_name(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan_cli.regularizers.r1.R1.penalty", lambda self, game, turn: torch.tensor(float("nan")))
        with pytest.raises(DivergedError, match="discriminator's r1 loss is nan at step 1"):
            train_in(tmp_path / "run", "stdgan")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("diverged", 0)  # the last finished one
    assert (tmp_path / "run" / "diagnosis.png").is_file()
    assert "r1" in summary["error"]
    assert [path.name for path in complete(tmp_path / "run" / "checkpoints")] == ["step-00000000"]


STATEFUL = [
    *chosen("regularizer.own", "RunningCenter", weight=1.0, every=1),
    *chosen("augmentation", "GrowingNoise", start=0.05),
]


@pytest.mark.slow
def test_parts_that_remember_something_go_on_as_they_were(tmp_path: Path) -> None:
    """A regularizer and an augmentation with buffers: listed, in the checkpoint, and bitwise equal after a kill."""
    train_in(tmp_path / "whole", "stdgan", *STATEFUL)
    start_and_kill(tmp_path / "run", "stdgan", 5, *STATEFUL, after_report=False)
    train_in(tmp_path / "run", "stdgan", *STATEFUL)
    for folder in ("whole", "run"):
        checkpoints = complete(tmp_path / folder / "checkpoints")
        first, last = (load_file(path / "state.safetensors") for path in (checkpoints[-2], checkpoints[-1]))
        for part, buffer in (("regularizer.own", "center"), ("augmentation", "scale")):
            assert [name for name in last if name.startswith(f"{part}/")] == [f"{part}/{buffer}"]
            assert not torch.equal(first[f"{part}/{buffer}"], last[f"{part}/{buffer}"]), "nothing was remembered"
    assert_equal(outcome(tmp_path / "run"), outcome(tmp_path / "whole"))


@pytest.mark.slow
def test_an_adaptive_augmentation_goes_on_as_it_was(tmp_path: Path) -> None:
    """p has moved by then, and is in the middle of counting signs."""
    adaptive = ["augmentation=ada", "augmentation.images_to_one=100", "augmentation.target=-1.0"]
    train_in(tmp_path / "whole", "stdgan", *adaptive)
    start_and_kill(tmp_path / "run", "stdgan", 5, *adaptive, after_report=False)
    train_in(tmp_path / "run", "stdgan", *adaptive)
    assert_equal(outcome(tmp_path / "run"), outcome(tmp_path / "whole"))
    state = load_file(complete(tmp_path / "run" / "checkpoints")[-1] / "state.safetensors")
    present = {name.removeprefix("augmentation.present/"): value for name, value in state.items() if "present" in name}
    assert set(present) == {"p", "signs", "images", "steps"}
    assert present["p"] > 0
    assert present["steps"] % 4


@pytest.mark.slow
def test_the_comparison_sees_a_part_that_forgets(tmp_path: Path) -> None:
    """Were such a part left out of the list, a continued run would differ: the test above can fail."""
    train_in(tmp_path / "whole", "stdgan", *STATEFUL)
    start_and_kill(tmp_path / "run", "stdgan", 5, *STATEFUL, after_report=False)
    listed = Experiment.parts
    with pytest.MonkeyPatch.context() as patch:
        forgotten = ("regularizer.own", "augmentation")
        patch.setattr(Experiment, "parts", lambda self: {k: v for k, v in listed(self).items() if k not in forgotten})
        train_in(tmp_path / "run", "stdgan", *STATEFUL)
    with pytest.raises(AssertionError):
        assert_equal(outcome(tmp_path / "run")[1:], outcome(tmp_path / "whole")[1:])


def interrupt(patch: pytest.MonkeyPatch, at: int, number: signal.Signals) -> None:
    """Sends this process a signal inside the `at`-th scoring of the run."""
    score, calls = FeatureScorer.score, []

    def interrupted(self: FeatureScorer, fake: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return score(self, fake)

    patch.setattr(FeatureScorer, "score", interrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("scoring", "step", "more"),
    [
        pytest.param(1, 2, [], id="first", marks=pytest.mark.slow),
        pytest.param(2, 4, [], id="second", marks=pytest.mark.slow),
        pytest.param(3, 6, [], id="last", marks=pytest.mark.slow),
        pytest.param(
            1, 3, ["evaluate_every=3", "checkpoint_every=0"], id="between checkpoints", marks=pytest.mark.slow
        ),
    ],
)
def test_interrupted_while_scored_and_continued(
    scoring: int, step: int, more: list[str], number: signal.Signals, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    """What was trained is saved at once; what was due after that step is done once, and first, when it goes on."""
    whole = undisturbed["stdgan"]
    if more:
        whole = tmp_path / "whole"
        train_in(whole, "stdgan", *more)
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, scoring, number)
        with pytest.raises(InterruptedRunError, match=f"interrupted at step {step}; continue with") as end:
            train_in(folder, "stdgan", *more)
    assert end.value.code == 128 + number
    found = newest(folder)
    assert found is not None
    assert (found.step, found.concluded) == (step, False)
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    scored = [record["step"] for record in RunFolder(folder).records() if "metrics" in record]
    assert step not in scored

    train_in(folder, "stdgan", *more)
    records = RunFolder(folder).records()
    assert [record["step"] for record in records if "metrics" in record].count(step) == 1
    assert [record["step"] for record in records if "losses" in record] == list(range(1, STEPS + 1))
    found = newest(folder)
    assert found is not None
    assert (found.step, found.concluded) == (STEPS, True)
    assert_equal(outcome(folder), outcome(whole))


@pytest.mark.slow
def test_interrupted_twice_at_the_same_scoring(undisturbed: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, 1, signal.SIGINT)
            with pytest.raises(InterruptedRunError, match="interrupted at step 2"):
                train_in(folder, "stdgan")
    train_in(folder, "stdgan")
    assert_equal(outcome(folder), outcome(undisturbed["stdgan"]))


@pytest.mark.slow
def test_interrupted_while_the_real_images_are_scored(undisturbed: dict[str, Path], tmp_path: Path) -> None:
    """Before the first step there is nothing to conclude; the initial state is saved."""
    folder, floor = tmp_path / "run", FeatureScorer.floor

    def interrupted(self: FeatureScorer) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return floor(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureScorer, "floor", interrupted)
        with pytest.raises(InterruptedRunError, match="interrupted at step 0"):
            train_in(folder, "stdgan")
    train_in(folder, "stdgan")
    assert_equal(outcome(folder), outcome(undisturbed["stdgan"]))
