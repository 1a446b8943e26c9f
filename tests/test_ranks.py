"""One run in several processes: gradients are those of the whole batch, however it is shared out."""

import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_cli.engine import Engine
from gan_cli.runs.checkpoint import META, STATE, newest
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.state import read_state
from tests.together import CASES, Whole, as_ranks, built, ended, outcome, started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[2, 3])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """The outcomes of every case, in float64, in as many processes."""
    folder = tmp_path_factory.mktemp(f"of-{request.param}")
    for status, said in ended(started(request.param, "-m", "tests.together", str(folder), "float64")):
        assert status == 0, said
    return request.param, folder


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_one_process(
    case: str, shared: tuple[int, Path], in_float64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, folder = shared
    whole = Whole(count)
    experiment = built(case, Engine(ranks=whole))
    with as_ranks(whole, monkeypatch):
        expected = outcome(experiment)
    for rank in range(count):
        found = torch.load(folder / f"{case} {rank}.pt")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            apart = (found[name] - value).abs().max().item() if value.numel() else 0.0
            assert apart <= 1e-12 * (1 + value.abs().max().item()), name


RUN = (
    *("-m", "gan_cli", "train", "device=cpu", "batch_size=12", "latent_dim=8", "checkpoint_every=5", "sample_every=0"),
    *("model.generator.width=4", "model.discriminator.width=4", "dataset.metrics.names=[fid]", "num_eval_images=600"),
)


def trained(count: int, folder: Path, *more: str) -> list[tuple[int, str]]:
    return ended(started(count, *RUN, f"run_dir={folder}", *more))


def states(folder: Path) -> dict[str, Tensor]:
    found = newest(folder)
    assert found is not None
    return {name: value for name, value in read_state(found.folder / STATE).items() if torch.is_tensor(value)}


def test_a_run_continues_on_another_number_of_processes_and_scores_alike(tmp_path: Path) -> None:
    """2, then 1, then 3; and the score of one checkpoint does not depend on the number."""
    common = ("steps=15", "evaluate_every=10")
    for count, step in ((2, 5), (1, 10), (3, 15)):
        pause = (f"pause_at={step}",) if step < 15 else ()
        assert [status for status, _ in trained(count, tmp_path / "run", *common, *pause)] == [0] * count
    folder = RunFolder(tmp_path / "run")
    assert [s["hardware"].get("processes", 1) for s in folder.sessions.all()] == [2, 1, 3]
    assert (folder.summary() or {})["protocol"]["batch_statistics"] == 4
    scores = []
    for count in (1, 2, 3):
        copy = tmp_path / f"of-{count}"
        shutil.copytree(folder.path, copy)
        (copy / "summary.json").unlink()
        for line in ("step-00000015", "step-00000005"):
            shutil.rmtree(copy / "checkpoints" / line, ignore_errors=True)
        rewind_score(copy)
        assert [status for status, _ in trained(count, copy, *common, "pause_at=10")] == [0] * count
        scores.append([record["metrics"] for record in RunFolder(copy).records() if "metrics" in record][-1])
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    assert scores[0] == pytest.approx(scores[2], rel=1e-6)


def rewind_score(run: Path) -> None:
    """The newest checkpoint is one whose scores were dropped: they are computed first when the run goes on."""
    found = newest(run)
    assert found is not None
    meta = found.folder / META
    meta.write_text(meta.read_text().replace('"concluded": true', '"concluded": false'))


def test_a_run_is_the_same_after_it_was_stopped(tmp_path: Path) -> None:
    common = ("steps=12", "evaluate_every=0", "regularizer=[r1,lecam]", "augmentation=ada")
    for pauses in (("pause_at=7",), ()):
        assert [status for status, _ in trained(2, tmp_path / "stopped", *common, *pauses)] == [0, 0]
    assert [status for status, _ in trained(2, tmp_path / "whole", *common)] == [0, 0]
    stopped, whole = states(tmp_path / "stopped"), states(tmp_path / "whole")
    assert stopped.keys() == whole.keys()
    assert all(torch.equal(stopped[name], whole[name]) for name in whole)


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("rank", "number"),
    [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)],
    ids=["first killed", "other killed", "other hung"],
)
def test_a_process_that_dies_or_hangs_ends_the_others(tmp_path: Path, rank: int, number: int) -> None:
    run = tmp_path / "run"
    common = ("steps=100000", "evaluate_every=0", f"run_dir={run}")
    processes = started(2, *RUN, *common, "rank_timeout=5")
    wait_for(run / "checkpoints" / "step-00000005", processes[0])
    processes[rank].send_signal(number)
    said = processes[1 - rank].communicate(timeout=60)[0]
    assert processes[1 - rank].returncode == 1
    if rank == 1:  # the first one speaks
        assert "another process of this run has ended, or has not answered for 5 s" in said
        assert f"gan-train resume={run}" in said.splitlines()[-1]
    processes[rank].kill()
    processes[rank].communicate()
    assert trained(1, run, "steps=100000", "evaluate_every=0", "pause_at=100")[0][0] == 0


def test_a_signal_to_one_process_stops_all_at_one_step(tmp_path: Path) -> None:
    run = tmp_path / "run"
    processes = started(2, *RUN, "steps=100000", "evaluate_every=0", f"run_dir={run}")
    wait_for(run / "checkpoints" / "step-00000005", processes[0])
    processes[1].send_signal(signal.SIGTERM)
    outcomes = ended(processes, 60)
    assert [status for status, _ in outcomes] == [128 + signal.SIGTERM] * 2
    assert "interrupted at step" in outcomes[0][1]
    assert outcomes[1][1] == ""
    summary = RunFolder(run).summary() or {}
    assert summary["status"] == "interrupted"
    found = newest(run)
    assert found is not None
    assert found.step == summary["step"]


def test_a_loss_that_is_not_finite_ends_all(tmp_path: Path) -> None:
    given = ("objective=wgan", "~regularizer.weight_clipping", "discriminator_optimizer.lr=1e30", "steps=100")
    outcomes = trained(2, tmp_path / "run", "evaluate_every=0", *given)
    assert [status for status, _ in outcomes] == [1, 1]
    assert "diverged: " in outcomes[0][1]
    assert outcomes[1][1] == ""
    assert (RunFolder(tmp_path / "run").summary() or {})["status"] == "diverged"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("batch_size=13",), "batch_size=13 cannot be shared equally by 2 processes: set batch_size="),
        (("objective=nope",), "unknown objective 'nope'"),
        (("init_from=nowhere",), "init_from=nowhere does not exist"),
    ],
)
def test_a_mistake_is_said_once(tmp_path: Path, given: Sequence[str], said: str) -> None:
    outcomes = ended(started(2, "-m", "gan_cli", "train", "device=cpu", f"outputs={tmp_path}", *given))
    assert len({status for status, _ in outcomes}) == 1
    assert said in outcomes[0][1]
    assert len(outcomes[0][1].splitlines()) == 1
    assert outcomes[1][1] == ""
    assert not list(tmp_path.iterdir())
