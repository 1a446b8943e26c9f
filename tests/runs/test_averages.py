"""Averages of any width, rebuilt from a run's snapshots, against the same average kept during training."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gan_cli.ema import PowerAverage
from gan_cli.engine import Engine
from gan_cli.errors import CheckpointError
from gan_cli.experiment import Experiment
from gan_cli.runs.trained import open_trained
from gan_cli.trainer import train

from ..conftest import TINY, Command

RUN = [*TINY, "device=cpu", "steps=60", "evaluate_every=0", "sample_every=0"]
KEPT = "ema_snapshots_every=3"


def state_of(folder: str, step: int = 60) -> dict[str, Any]:
    return load_file(Path(folder) / "checkpoints" / f"step-{step:08d}" / "state.safetensors")


@pytest.mark.slow
def test_a_rebuilt_average_is_the_one_kept_during_training(
    command: Command, experiment: Callable[..., Experiment]
) -> None:
    """To a millionth for 0.07, batch norm's statistics included; both widths that are kept to rounding, at any step."""
    assert command("train", *RUN, KEPT, "run_dir=run", "pause_at=50")[0] == 0
    direct = experiment(*RUN)
    networks = {width: copy.deepcopy(direct.gan.ema_generator) for width in (0.05, 0.07, 0.1, 0.15)}
    averages = [PowerAverage(network, direct.game.generator, width) for width, network in networks.items()]
    for step in train(direct):
        for average in averages:
            average.update(step.number)
        if step.number == 50:
            break
    assert not torch.equal(weights(networks[0.05]), weights(networks[0.07]))
    for width, network in networks.items():
        rebuilt = open_trained(Path("run"), "latest", [], None, Engine(), width)
        expected, found = network.state_dict(), rebuilt.gan.ema_generator.state_dict()
        for name, value in expected.items():
            close = {0.05: 1e-6, 0.1: 1e-6, 0.07: 1e-4, 0.15: 1e-3}[width]
            assert torch.allclose(found[name], value, rtol=close, atol=close), (width, name)
        assert rebuilt.profile_error is not None
        assert rebuilt.profile_error < 0.01
        assert rebuilt.name == f"run-step-50-ema-{width:g}"


def weights(network: torch.nn.Module) -> Tensor:
    return torch.cat([weight.flatten() for weight in network.parameters()])


@pytest.mark.slow
def test_snapshots_change_nothing_else_and_a_paused_run_ends_in_the_same(command: Command) -> None:
    assert command("train", *RUN, "run_dir=without")[0] == 0
    assert command("train", *RUN, KEPT, "run_dir=with")[0] == 0
    for more in (["pause_at=31"], []):
        assert command("train", *RUN, KEPT, "run_dir=paused", *more)[0] == 0
    without, kept, paused = map(state_of, ("without", "with", "paused"))
    assert {key.split("/")[0] for key in kept.keys() - without.keys()} == {"ema_0.05", "ema_0.1"}
    assert all(torch.equal(kept[key], value) for key, value in without.items())
    assert all(torch.equal(paused[key], value) for key, value in kept.items())
    assert not Path("without/averages").exists()
    files = sorted(Path("with/averages").iterdir())
    assert [file.name for file in files] == [f"{step:08d}.safetensors" for step in range(3, 61, 3)]
    assert all(file.read_bytes() == (Path("paused/averages") / file.name).read_bytes() for file in files)


@pytest.mark.slow
def test_an_average_is_scored_and_drawn_under_its_own_name(command: Command) -> None:
    assert command("train", *RUN, KEPT, "run_dir=run")[0] == 0
    before = {file.name: file.stat().st_mtime_ns for file in Path("run/averages").iterdir()}
    assert command("verify", "run", "full=true")[0] == 0
    assert {file.name: file.stat().st_mtime_ns for file in Path("run/averages").iterdir()} == before
    scores = {}
    for ema in (None, 0.05, 0.1):
        code, out, err = command("eval", "run", *([] if ema is None else [f"ema={ema}"]))
        assert code == 0, err
        scores[ema] = json.loads(out)
    assert scores[0.05]["protocol"]["weights"] == "power-function average of relative width 0.05"
    assert scores[0.05]["ema"]["width"] == 0.05
    assert "ema" not in scores[None]
    assert len({json.dumps(each["metrics"]) for each in scores.values()}) == 3
    folders = [command("sample", "run", "num_images=2", *more)[1].strip() for more in ([], ["ema=0.1"])]
    images = [(Path(folder) / "images" / "00000.png").read_bytes() for folder in folders]
    assert folders[0] != folders[1]
    assert images[0] != images[1]
    code, _, err = command("sample", "run", "num_images=4", "ema=0.05", f"out={folders[1]}")
    assert (code, "holds images of another ema" in err) == (2, True), err


@pytest.mark.slow
def test_what_cannot_be_rebuilt_is_one_line(command: Command) -> None:
    assert command("train", *RUN, "steps=2", "run_dir=run")[0] == 0
    refused = {
        ("run", "ema=0.07"): "train with ema_snapshots_every=<steps>, or leave it out",
        ("run", "ema=0.3"): "ema=0.3 must be above 0 and below 0.289",
        ("run", "ema=nan"): "ema=nan must be",
        ("images=run", "dataset=digits", "ema=0.1"): "images= takes no ema=0.1",
    }
    for arguments, message in refused.items():
        code, _, err = command("eval", *arguments)
        assert code == 2, err
        assert message in err
        assert err.count("\n") == 1, err


@pytest.mark.slow
def test_few_snapshots_are_said_and_a_foreign_one_is_refused(command: Command) -> None:
    assert command("train", *RUN, "ema_snapshots_every=40", "run_dir=run")[0] == 0
    with pytest.warns(UserWarning, match=r"ema=0\.02 is rebuilt from few snapshots: its profile is off by \d+%"):
        open_trained(Path("run"), "latest", [], None, Engine(), 0.02)
    file = Path("run/averages/00000040.safetensors")
    changed = {key: value.repeat(2) if value.dim() == 1 else value for key, value in load_file(file).items()}
    save_file(changed, file)
    with pytest.raises(CheckpointError, match="does not fit this run: ema_"):
        open_trained(Path("run"), "latest", [], None, Engine(), 0.07)


def test_a_classifier_keeps_no_snapshots(experiment: Callable[..., Experiment]) -> None:
    run = experiment("experiment=classifier", "batch_size=4", "steps=3", "model.discriminator.width=4", KEPT)
    assert not run.power_averages
