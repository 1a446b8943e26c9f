"""Checkpoints from elsewhere: named when they cannot be read, and never run."""

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gan_cli.config.build import build_experiment
from gan_cli.config.limits import no_more_weights_than
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.errors import CheckpointError, UserError
from gan_cli.experiment import Experiment
from gan_cli.files import Hashed, remove, sha256
from gan_cli.runs import checkpoint
from gan_cli.runs.checkpoint import Checkpoint, complete, find, named, newest, prune, save, sweep_incomplete
from gan_cli.runs.origin import signature
from gan_cli.runs.trained import open_trained, trusted_config

from ..conftest import TINY
from ..pairwise import every_third_quick

Build = Callable[..., Experiment]
NO_RECORDS: Hashed = {"sha256": "", "bytes": 0}


def save_tiny(run: Path, experiment: Build, *, step: int = 7, concluded: bool = False, trained: bool = True) -> None:
    tiny = experiment(*TINY)
    if trained:
        for player in tiny.players:
            for parameter in player.network.parameters():
                parameter.grad = torch.ones_like(parameter)
            player.optimizer.step()
    config = config_of([*TINY, "steps=10"])
    save(
        run / "checkpoints",
        tiny.parts(),
        step=step,
        seconds=1.5,
        config=config,
        image_shape=(1, 16, 16),
        class_counts=[3, 4],
        overrides=TINY,
        concluded=concluded,
        signature=signature(config),
        records=NO_RECORDS,
    )


@pytest.fixture
def saved(experiment: Build, tmp_path: Path) -> Path:
    """A run folder with one checkpoint."""
    save_tiny(tmp_path / "run", experiment)
    return tmp_path / "run"


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Rewrites meta.json as an attacker would, with matching hashes."""
    folder = run / "checkpoints" / "step-00000007"
    meta = json.loads((folder / "meta.json").read_text())
    change(meta)
    state = folder / "state.safetensors"
    meta["state"] = {"sha256": sha256(state), "bytes": state.stat().st_size}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def test_round_trip(saved: Path, experiment: Build) -> None:
    original, other = experiment(*TINY), experiment(*TINY, "seed=5")
    found = find(saved, "latest")
    assert (found.step, found.seconds, found.image_shape, found.concluded) == (7, 1.5, (1, 16, 16), False)
    assert (found.overrides, found.records) == (TINY, NO_RECORDS)
    assert len({file.stat().st_mode for file in found.folder.iterdir()}) == 1, "who may read the run may read all of it"
    found.restore(other.parts())
    other.game.generator.zero_grad()
    for first, second in zip(original.players, other.players, strict=True):
        for parameter in first.network.parameters():
            parameter.grad = torch.ones_like(parameter)
        first.optimizer.step()
        for old, new in zip(first.network.parameters(), second.network.parameters(), strict=True):
            assert torch.equal(old, new)
            known, restored = first.optimizer.state[old], second.optimizer.state[new]
            assert {key: value.stride() for key, value in known.items()} == {k: v.stride() for k, v in restored.items()}
            assert all(torch.equal(known[key], restored[key]) for key in known)


@pytest.mark.parametrize("part", ["", "checkpoints/step-00000007", "checkpoints/step-00000007/state.safetensors"])
def test_a_run_or_a_checkpoint_can_be_named(saved: Path, part: str) -> None:
    assert find(saved / part, "latest").step == 7


def nothing(run: Path) -> Path:
    return run / "absent"


def empty_folder(run: Path) -> Path:
    (run / "empty").mkdir()
    return run / "empty"


def truncated(run: Path) -> Path:
    state = run / "checkpoints" / "step-00000007" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    return state.parent


def other_format(run: Path) -> Path:
    return edit(run, lambda meta: meta.update(format=99))


def format_of_another_program(run: Path) -> Path:
    return edit(run, lambda meta: meta.update(format=["a"] and "a"))


def a_pipe(run: Path) -> Path:
    folder = edit(run, lambda meta: None)
    (folder / "state.safetensors").unlink()
    os.mkfifo(folder / "state.safetensors")
    return folder


def not_json(run: Path) -> Path:
    meta = run / "checkpoints" / "step-00000007" / "meta.json"
    meta.write_text("{")
    return meta.parent


def no_word_of_what_is_done(run: Path) -> Path:
    return edit(run, lambda meta: meta.pop("concluded"))


def no_tensors(run: Path) -> Path:
    (run / "checkpoints" / "step-00000007" / "state.safetensors").unlink()
    return run / "checkpoints" / "step-00000007"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nothing, "does not exist"),
        (empty_folder, "neither a run folder nor a checkpoint"),
        (truncated, "is damaged: state.safetensors"),
        (other_format, "is of checkpoint format 99, written by another version; this version reads 4"),
        (not_json, "is damaged: .*meta.json: Invalid JSON"),
        (no_word_of_what_is_done, "is damaged: .*meta.json: concluded: Field required"),
        (no_tensors, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(saved: Path, spoil: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as refusal:
        find(spoil(saved), "latest")
    assert "\n" not in str(refusal.value)


def test_a_pickle_payload_is_refused_and_not_run(saved: Path, tmp_path: Path, experiment: Build) -> None:
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
            return Path.touch, (canary,)

    folder = saved / "checkpoints" / "step-00000007"
    torch.save({"generator": Payload()}, folder / "state.safetensors")
    edit(saved, lambda meta: None)
    with pytest.raises(CheckpointError, match="does not hold a checkpoint's tensors") as refusal:
        find(saved, "latest").restore(experiment(*TINY).parts())
    assert "weights_only" not in str(refusal.value)
    assert not canary.exists()


FIRST = "generator_optimizer/0/exp_avg"
Tensors = dict[str, torch.Tensor]
STATES: list[tuple[str, Callable[[Tensors], object], str]] = [
    (
        "another shape",
        lambda t: t.update({FIRST: t[FIRST][:1].clone()}),
        r"0/exp_avg is float32\[1, .*\], not float32\[",
    ),
    ("empty", lambda t: t.update({FIRST: torch.zeros(0)}), r"0/exp_avg is float32\[0\], not float32\["),
    ("more dimensions", lambda t: t.update({FIRST: t[FIRST][None]}), "0/exp_avg is float32"),
    ("float64", lambda t: t.update({FIRST: t[FIRST].double()}), "0/exp_avg is float64.*, not float32"),
    ("integers", lambda t: t.update({FIRST: t[FIRST].long()}), "0/exp_avg is int64.*, not float32"),
    ("a step for each", lambda t: t.update({"generator_optimizer/0/step": torch.zeros(9)}), r"0/step is float32\[9\]"),
    ("missing", lambda t: t.pop(FIRST), "0/exp_avg is missing"),
    ("one more", lambda t: t.update({"generator_optimizer/0/max_exp_avg_sq": torch.zeros(1)}), "is in the file only"),
    ("another parameter", lambda t: t.update({"generator_optimizer/99/step": torch.zeros(())}), "is in the file only"),
    ("groups", lambda t: t.update({"generator_optimizer/param_groups": torch.zeros(1)}), "is in the file only"),
    (
        "a larger network",
        lambda t: t.update({"generator/new.weight": torch.zeros(3)}),
        "new.weight is in the file only",
    ),
]


@pytest.mark.parametrize(
    ("change", "message"), every_third_quick(case[1:] for case in STATES), ids=[case[0] for case in STATES]
)
def test_a_state_that_does_not_fit_is_refused_before_anything_is_changed(
    saved: Path, experiment: Build, change: Callable[[Tensors], object], message: str
) -> None:
    state = saved / "checkpoints" / "step-00000007" / "state.safetensors"
    tensors = load_file(state)
    change(tensors)
    save_file(tensors, state, metadata={"numbers": "{}"})
    edit(saved, lambda meta: None)
    tiny = experiment(*TINY, "seed=3")
    before = {name: value.clone() for name, value in tiny.game.discriminator.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as refusal:
        find(saved, "latest").restore(tiny.parts())
    assert "\n" not in str(refusal.value)
    assert all(torch.equal(before[name], value) for name, value in tiny.game.discriminator.state_dict().items())
    assert not tiny.players[0].optimizer.state


@pytest.mark.parametrize("numbers", ["[", "[1]", '{"generator_optimizer/0/step": 3}', '{"generator/extra": [1, {}]}'])
def test_numbers_that_are_not_the_parts_own_are_refused(saved: Path, experiment: Build, numbers: str) -> None:
    state = saved / "checkpoints" / "step-00000007" / "state.safetensors"
    tensors = {name: value for name, value in load_file(state).items() if name != "generator_optimizer/0/step"}
    save_file(tensors, state, metadata={"numbers": numbers})
    edit(saved, lambda meta: None)
    with pytest.raises(CheckpointError):
        find(saved, "latest").restore(experiment(*TINY).parts())


def test_an_optimizers_settings_come_from_the_config(saved: Path, experiment: Build) -> None:
    other = experiment(*TINY, "generator_optimizer.lr=0.5", "generator_optimizer.betas=[0.1,0.2]")
    find(saved, "latest").restore(other.parts())
    group = other.players[1].optimizer.param_groups[0]
    assert (group["lr"], group["betas"]) == (0.5, (0.1, 0.2))
    assert len(other.players[1].optimizer.state) == len(group["params"])


def test_the_state_before_the_first_step_is_restored(tmp_path: Path, experiment: Build) -> None:
    save_tiny(tmp_path, experiment, step=0, trained=False)
    tiny = experiment(*TINY, "seed=3")
    find(tmp_path, "latest").restore(tiny.parts())
    assert not tiny.players[0].optimizer.state


def test_another_networks_checkpoint_does_not_fit(saved: Path, experiment: Build) -> None:
    with pytest.raises(
        CheckpointError, match=r"does not fit this experiment: .*discriminator/.*\[1.*, not float32\[51"
    ):
        find(saved, "latest").restore(experiment(*TINY, "objective=realness").parts())


def target(path: str, name: str) -> Callable[[dict[str, Any]], object]:
    def change(meta: dict[str, Any]) -> None:
        node = meta["config"]
        for key in path.split("."):
            node = node[key]
        node["_target_"] = name

    return change


def nested_lists(depth: int) -> list[Any]:
    node: list[Any] = [1]
    for _ in range(depth):
        node = [node]
    return node


HOSTILE: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (target("objective", "os.system"), "is outside gan_cli, and no part of a run$"),
    (target("objective", "pathlib.Path.write_text"), "is outside gan_cli, and no part of a run$"),
    (target("objective", "rm -rf.x"), "is outside gan_cli, and no part of a run$"),
    (target("objective", "gan_cli.cli.os.system"), "cannot be imported"),
    (target("objective", "gan_cli.runs.pictures.Path"), "is not a Objective"),
    (target("objective", "gan_cli.regularizers.r1.R1"), "is not a Objective"),
    (target("objective", "gan_cli.objectives.nothing.Nothing"), "cannot be imported: .*known: .*fgan.FGAN"),
    (target("model.generator", "gan_cli.models.dcgan.nn.Linear"), "is not defined in gan_cli"),
    (target("model.generator", "torch.nn.Linear"), r"if torch is a package that you know, trust=torch allows it"),
    (target("generator_optimizer", "torch.optim.swa_utils.AveragedModel"), "is not a Optimizer"),
    (target("dataset.metrics.extractor", "gan_cli.data.TrainingSet"), "is not a Metrics or Metric or Extractor or"),
    (target("dataset.metrics.extractor", "gan_cli.objectives.hinge.Hinge"), "extractor=.* must be .*Extractor"),
    (
        lambda meta: meta["config"].update(surplus={"_target_": "gan_cli.objectives.hinge.Hinge"}),
        "unknown key 'surplus'",
    ),
    (lambda meta: meta["config"]["dataset"].update(image_size="${oc.env:HOME}"), "holds an interpolation"),
    (lambda meta: meta["config"]["dataset"].update({"${oc.env:HOME}": 1}), "holds an interpolation"),
    (lambda meta: meta["config"]["objective"].update(_partial_=True), "_partial_ is not a setting"),
    (lambda meta: meta["config"]["regularizer"].update(_args_=[1]), "_args_ is not a setting"),
    (
        lambda meta: meta["config"].update(num_eval_images=10**9),
        "num_eval_images=1000000000 must be at most 10,000,000",
    ),
    (lambda meta: meta["config"].update(seed=10**30), "seed=1000.* must be at most"),
    (lambda meta: meta["config"]["generator_optimizer"].update(lr=1e12), "lr=1000000000000.0 must be at most"),
    (lambda meta: meta["config"]["generator_optimizer"].update(betas=[5, -(10**12)]), "betas=-10.* must be at most"),
    (lambda meta: meta["config"].update(regularizer={"a" * 10_000: 1}), "is longer than 4,096 characters"),
    (lambda meta: meta["config"].update(regularizer={str(n): n for n in range(20_000)}), "more than 10,000 values"),
    (lambda meta: meta["config"].update(regularizer=nested_lists(100)), "nested more than 20 deep"),
    (lambda meta: meta["config"].update({"\x1b[31m": 1}), r"unknown key '\\x1b\[31m'"),
    (lambda meta: meta["config"].pop("objective"), "objective is missing"),
    (lambda meta: meta["config"].update(model=None), "model.generator must name a class"),
    (lambda meta: meta["config"].update(regularizer=[1]), "regularizer must hold one named regularizer each"),
    (lambda meta: meta["config"].update(ema_decay=float("nan")), "ema_decay=nan must be at most"),
    (lambda meta: meta.update(step=11), "step 11 is beyond steps=10"),
    (lambda meta: meta["config"].update(batch_size="many"), "batch_size=many must be an integer"),
]


@pytest.mark.parametrize(("change", "message"), every_third_quick(HOSTILE))
def test_a_hostile_config_is_refused(saved: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(saved, change)
    with pytest.raises(UserError, match=message) as refusal:
        trusted_config(find(saved, "latest"), [], None)
    assert "\n" not in str(refusal.value)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 600 + len(str(saved))


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta["config"]["model"]["generator"].update(width=99_999),
        lambda meta: meta["config"]["latent_sampler"].update(latent_dim=99_999),
    ],
)
def test_a_config_that_asks_for_more_weights_than_its_file_holds_is_refused(
    saved: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(saved, change)
    with pytest.raises(
        UserError, match=r"the config of .* is refused: .*weights or more, which the file does not hold"
    ):
        open_trained(saved, "latest", [], None, Engine())


def test_no_more_memory_is_filled_than_the_bound() -> None:
    """A layer of 1.6 GB is reserved, and refused before a value is written."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with no_more_weights_than(1000), pytest.raises(UserError, match="400,000,000 weights or more"):
        nn.Linear(20_000, 20_000, bias=False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kilobytes


def test_buffers_count_and_a_shared_weight_counts_once() -> None:
    shared = nn.Linear(10, 10, bias=False)
    with no_more_weights_than(100):
        nn.Module().weight, nn.Module().weight = shared.weight, shared.weight
        nn.ParameterList([shared.weight, shared.weight])
    with no_more_weights_than(100), pytest.raises(UserError, match="101 weights or more"):
        nn.Module().register_buffer("table", torch.zeros(101))
    nn.Linear(100, 100)  # the bound has ended


def test_a_trusted_package_may_bring_its_own_objective(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brought.py").write_text(
        "from dataclasses import dataclass\n"
        "from gan_cli.objectives import StdGAN\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(StdGAN): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    edit(saved, target("objective", "brought.Mine"))
    found: Checkpoint = find(saved, "latest")
    with pytest.raises(UserError, match=r"trust=brought allows it"):
        trusted_config(found, [], None)
    assert trusted_config(found, ["brought"], None)["objective"]["_target_"] == "brought.Mine"


@pytest.mark.parametrize("concluded", [True, False])
def test_a_step_that_is_concluded_later_is_never_without_its_checkpoint(
    saved: Path, experiment: Build, monkeypatch: pytest.MonkeyPatch, concluded: bool
) -> None:
    """Its tensors stay where they are; only meta.json is written again."""
    state = saved / "checkpoints" / "step-00000007" / "state.safetensors"
    before = (state.stat().st_ino, sha256(state))

    def refuse(path: Path) -> None:
        assert "step-00000007" not in path.name, "the only checkpoint is removed"

    monkeypatch.setattr("gan_cli.runs.checkpoint.remove", refuse)
    save_tiny(saved, experiment, concluded=concluded)
    assert find(saved, "latest").concluded == concluded
    assert (state.stat().st_ino, sha256(state)) == before


def test_strange_names_beside_checkpoints_are_left_alone(saved: Path, experiment: Build) -> None:
    checkpoints = saved / "checkpoints"
    for name in ("step-abc", "step-", "step-00000007.old"):
        (checkpoints / name).mkdir()
        (checkpoints / name / "meta.json").write_text("{}")
    (checkpoints / "step-00000003").write_text("a file, not a folder")
    assert complete(checkpoints) == [checkpoints / "step-00000007"]
    save_tiny(saved, experiment, step=3)  # it replaces the file
    assert [folder.name for folder in complete(checkpoints)] == ["step-00000003", "step-00000007"]
    prune(checkpoints, 1)
    assert [folder.name for folder in complete(checkpoints)] == ["step-00000007"]
    assert not list(checkpoints.glob(".*.partial"))
    assert (checkpoints / "step-abc").is_dir()


def test_checkpoints_are_ordered_by_step_also_beyond_eight_digits(saved: Path, experiment: Build) -> None:
    save_tiny(saved, experiment, step=123_456_789)
    assert [folder.name for folder in complete(saved / "checkpoints")] == ["step-00000007", "step-123456789"]


@pytest.mark.parametrize("content", ["../../elsewhere\n", "/etc\n", "\xff", "x" * 10_000, "step-00000099\n", ""])
def test_a_pointer_leads_nowhere_else(saved: Path, content: str) -> None:
    (saved / "checkpoints" / "best").write_bytes(content.encode("latin-1"))
    assert named(saved / "checkpoints", "best") is None


def test_what_a_kill_has_left_of_a_checkpoint_is_swept(saved: Path) -> None:
    half = saved / "checkpoints" / "step-00000005"
    half.mkdir()
    (half / "state.safetensors").write_bytes(b"1")
    sweep_incomplete(saved / "checkpoints")
    assert not half.exists()
    assert find(saved, "latest").step == 7


def test_a_checkpoint_that_is_removed_while_it_is_read_is_not_damage(
    saved: Path, experiment: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a run that goes on, and saves a newer one before it removes the old one."""
    opened = checkpoint.open_checkpoint

    def late(folder: Path) -> Checkpoint:
        if folder.name == "step-00000007":
            save_tiny(saved, experiment, step=8)
            remove(folder)
        return opened(folder)

    monkeypatch.setattr(checkpoint, "open_checkpoint", late)
    found = newest(saved)
    assert found is not None
    assert found.step == 8


SAMPLES = Path(__file__).parents[1] / "samples"


def test_the_format_of_0_1_0_is_refused_by_name() -> None:
    """A checkpoint as version 0.1.0 has written it, without its tensors."""
    with pytest.raises(CheckpointError, match="format 1, written by gan_cli 0.1.0; this version reads 4"):
        find(SAMPLES / "checkpoint-format-1", "latest")


def test_a_stored_checkpoint_of_this_format_is_opened_and_restored() -> None:
    """A version that cannot read it needs a new format, or this one is no longer what it says."""
    found = find(SAMPLES / "checkpoint-format-4", "latest")
    config = trusted_config(found, [], None)
    tiny = build_experiment(config, Engine())
    found.restore(tiny.parts())
    assert found.step == config["steps"] == 2
    stored = load_file(SAMPLES / "checkpoint-format-4" / "state.safetensors")
    for name, value in tiny.game.generator.state_dict().items():
        assert torch.equal(value, stored[f"generator/{name}"])
    assert all(int(state["step"]) == 2 for state in tiny.players[0].optimizer.state.values())
