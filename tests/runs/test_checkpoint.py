"""Checkpoints from elsewhere: named when they cannot be read, and never run."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.config.read import config_of
from gan_cli.errors import CheckpointError, UserError
from gan_cli.experiment import Experiment
from gan_cli.files import sha256
from gan_cli.runs.checkpoint import Checkpoint, find, save, trusted_config

from ..conftest import TINY

Build = Callable[..., Experiment]
CPU = torch.device("cpu")


@pytest.fixture
def saved(experiment: Build, tmp_path: Path) -> Path:
    """A run folder with one checkpoint."""
    config = config_of([*TINY, "steps=10"])
    tiny = experiment(*TINY)
    save(
        tmp_path / "run" / "checkpoints",
        tiny.parts(),
        step=7,
        seconds=1.5,
        config=config,
        image_shape=(1, 16, 16),
        overrides=TINY,
        concluded=False,
    )
    return tmp_path / "run"


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Rewrites meta.json as an attacker would, with matching hashes."""
    folder = run / "checkpoints" / "step-00000007"
    meta = json.loads((folder / "meta.json").read_text())
    change(meta)
    meta["files"]["state.pt"] = {
        "sha256": sha256(folder / "state.pt"),
        "bytes": (folder / "state.pt").stat().st_size,
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def test_round_trip(saved: Path, experiment: Build) -> None:
    original, other = experiment(*TINY), experiment(*TINY, "seed=5")
    found = find(saved, "latest")
    assert (found.step, found.seconds, found.image_shape, found.concluded) == (7, 1.5, (1, 16, 16), False)
    assert found.overrides == TINY
    found.restore(other.parts(), CPU)
    for first, second in zip(original.game.generator.parameters(), other.game.generator.parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("part", ["", "checkpoints/step-00000007", "checkpoints/step-00000007/state.pt"])
def test_a_run_or_a_checkpoint_can_be_named(saved: Path, part: str) -> None:
    assert find(saved / part, "latest").step == 7


def nothing(run: Path) -> Path:
    return run / "absent"


def empty_folder(run: Path) -> Path:
    (run / "empty").mkdir()
    return run / "empty"


def truncated(run: Path) -> Path:
    state = run / "checkpoints" / "step-00000007" / "state.pt"
    state.write_bytes(state.read_bytes()[:100])
    return state.parent


def other_format(run: Path) -> Path:
    return edit(run, lambda meta: meta.update(format=99))


def not_json(run: Path) -> Path:
    meta = run / "checkpoints" / "step-00000007" / "meta.json"
    meta.write_text("{")
    return meta.parent


def no_word_of_what_is_done(run: Path) -> Path:
    return edit(run, lambda meta: meta.pop("concluded"))


def no_tensors(run: Path) -> Path:
    (run / "checkpoints" / "step-00000007" / "state.pt").unlink()
    return run / "checkpoints" / "step-00000007"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nothing, "does not exist"),
        (empty_folder, "neither a run folder nor a checkpoint"),
        (truncated, "is damaged: state.pt"),
        (other_format, "is of checkpoint format 99; this version reads 2"),
        (not_json, "is damaged: meta.json"),
        (no_word_of_what_is_done, "is damaged: meta.json"),
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
    torch.save({"generator": Payload()}, folder / "state.pt")
    edit(saved, lambda meta: None)
    with pytest.raises(CheckpointError, match="does not hold a checkpoint's tensors") as refusal:
        find(saved, "latest").restore(experiment(*TINY).parts(), CPU)
    assert "weights_only" not in str(refusal.value)
    assert not canary.exists()


def test_a_compressed_file_is_refused(saved: Path, experiment: Build) -> None:
    state = saved / "checkpoints" / "step-00000007" / "state.pt"
    with zipfile.ZipFile(state) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(state, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    edit(saved, lambda meta: None)
    with pytest.raises(CheckpointError, match="is compressed"):
        find(saved, "latest").restore(experiment(*TINY).parts(), CPU)


def test_another_networks_checkpoint_does_not_fit(saved: Path, experiment: Build) -> None:
    with pytest.raises(CheckpointError, match="does not fit this experiment's discriminator"):
        find(saved, "latest").restore(experiment(*TINY, "objective=realness").parts(), CPU)


def target(path: str, name: str) -> Callable[[dict[str, Any]], object]:
    def change(meta: dict[str, Any]) -> None:
        node = meta["config"]
        for key in path.split("."):
            node = node[key]
        node["_target_"] = name

    return change


HOSTILE: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (target("objective", "os.system"), "is outside gan_cli"),
    (target("objective", "pathlib.Path.write_text"), "is outside gan_cli"),
    (target("objective", "gan_cli.cli.os.system"), "cannot be imported"),
    (target("objective", "gan_cli.runs.pictures.Path"), "is not a Objective"),
    (target("objective", "gan_cli.regularizers.r1.R1"), "is not a Objective"),
    (target("objective", "gan_cli.objectives.nothing.Nothing"), "cannot be imported: .*known: .*hinge.Hinge"),
    (target("model.generator", "gan_cli.models.dcgan.nn.Linear"), "is not defined in gan_cli"),
    (target("model.generator", "torch.nn.Linear"), "is outside gan_cli"),
    (target("generator_optimizer", "torch.optim.swa_utils.AveragedModel"), "is not a Optimizer"),
    (target("dataset.metrics.extractor", "gan_cli.data.TrainingSet"), "is not a Metrics or Extractor or"),
    (target("dataset.metrics.extractor", "gan_cli.objectives.hinge.Hinge"), "extractor=.* must be .*Extractor"),
    (
        lambda meta: meta["config"].update(surplus={"_target_": "gan_cli.objectives.hinge.Hinge"}),
        "is not a known part",
    ),
    (lambda meta: meta["config"]["dataset"].update(image_size="${oc.env:HOME}"), "holds an interpolation"),
    (lambda meta: meta["config"].pop("objective"), "objective is missing"),
    (lambda meta: meta["config"].update(model=None), "model.generator must name a class"),
    (lambda meta: meta["config"].update(regularizer=[1]), "regularizer must hold one named regularizer each"),
    (lambda meta: meta["config"].update(ema_decay=float("nan")), "ema_decay=nan must be a finite number"),
    (lambda meta: meta.update(step=11), "step 11 is beyond steps=10"),
    (lambda meta: meta["config"].update(batch_size="many"), "batch_size=many must be an integer"),
    (lambda meta: meta["config"]["model"]["generator"].update(width=10**6), "weights, which the file does not hold"),
    (lambda meta: meta["config"]["latent_sampler"].update(latent_dim=10**12), "weights, which the file does not hold"),
]


@pytest.mark.parametrize(("change", "message"), HOSTILE)
def test_a_hostile_config_is_refused(saved: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(saved, change)
    with pytest.raises(UserError, match=message) as refusal:
        trusted_config(find(saved, "latest"), [])
    assert "\n" not in str(refusal.value)


def test_a_trusted_package_may_bring_its_own_objective(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from gan_cli.objectives import StdGAN\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(StdGAN): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    edit(saved, target("objective", "mine.Mine"))
    found: Checkpoint = find(saved, "latest")
    with pytest.raises(UserError, match=r"add trust=\[mine\]"):
        trusted_config(found, [])
    assert trusted_config(found, ["mine"])["objective"]["_target_"] == "mine.Mine"


@pytest.mark.parametrize("concluded", [True, False])
def test_a_step_that_is_concluded_later_is_never_without_its_checkpoint(
    saved: Path, experiment: Build, monkeypatch: pytest.MonkeyPatch, concluded: bool
) -> None:
    """Its tensors stay where they are; only meta.json is written again."""
    state = saved / "checkpoints" / "step-00000007" / "state.pt"
    before = (state.stat().st_ino, sha256(state))

    def refuse(path: Path, ignore_errors: bool = False) -> None:
        assert "step-00000007" not in path.name, "the only checkpoint is removed"

    monkeypatch.setattr("gan_cli.runs.checkpoint.shutil.rmtree", refuse)
    save(
        saved / "checkpoints",
        experiment(*TINY).parts(),
        step=7,
        seconds=1.5,
        config=config_of([*TINY, "steps=10"]),
        image_shape=(1, 16, 16),
        overrides=TINY,
        concluded=concluded,
    )
    assert find(saved, "latest").concluded == concluded
    assert (state.stat().st_ino, sha256(state)) == before
