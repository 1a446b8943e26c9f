"""A run without a discriminator: resumed bitwise, evaluated, sampled; and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.iteration import Step
from gan_cli.metrics.classifier import ClassifierExtractor
from gan_cli.trainer import train

from ..conftest import Command
from ..pairwise import every_third_quick

SMALL = ["objective=drifting", "batch_size=4", "steps=4", "model.generator.width=4", "device=cpu", "num_eval_images=16"]
SMALL += ["evaluate_every=2", "checkpoint_every=2", "sample_every=2", "log_every=1", "dataset.metrics.names=[fid]"]
IN_FEATURES = ["features@objective.features=mnist"]
POINTS = ["objective=drifting", "dataset=ring", "model=mlp", "latent_dim=2", "steps=4", "batch_size=4", "device=cpu"]
POINTS += ["model.generator.hidden=[8]", "num_eval_images=16", "evaluate_every=2", "checkpoint_every=2"]
POINTS += ["log_every=1"]


def records(run: str) -> list[dict[str, Any]]:
    timed = {"seconds", "scoring_seconds", "sampling"}
    lines = Path(run, "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in timed} for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [[*SMALL, *IN_FEATURES, "generator_labels=concat"], POINTS], ids=["features by class", "points"]
)
def test_a_generator_alone_is_continued_evaluated_and_sampled(command: Command, settings: list[str]) -> None:
    assert command("train", *settings, "run_dir=whole")[0] == 0
    assert command("train", *settings, "steps=2", "run_dir=part")[0] == 0
    code, _, err = command("train", "resume=part", "steps=4", "device=cpu")
    assert code == 0, err
    last = [Path(run, "checkpoints", "step-00000004", "state.safetensors").read_bytes() for run in ("whole", "part")]
    assert last[0] == last[1]
    assert records("whole") == records("part")

    summary = json.loads(Path("whole", "summary.json").read_text())
    assert summary["status"] == "completed"
    assert set(summary["parameters"]) == {"generator"}
    assert summary["cost"]["generator_updates"] == 4
    assert summary["cost"]["images_seen"] == 16
    assert "discriminator_updates" not in summary["cost"]
    assert summary["protocol"].get("trained_weights") == (
        "shipped classifier mnist_v2" if "generator_labels=concat" in settings else None
    )
    losses = [record["losses"] for record in records("whole") if "losses" in record]
    assert all(list(each) == ["generator"] and list(each["generator"]) == ["drifting"] for each in losses)
    assert Path("whole", "curves.png").is_file()
    assert len(list(Path("whole", "samples").glob("*.png"))) >= 2

    code, out, err = command("eval", "checkpoint=whole", "device=cpu")
    assert code == 0, err
    assert json.loads(out)["metrics"] == summary["metrics"]["last"]
    assert command("sample", "checkpoint=whole", "num_images=4", "device=cpu")[0] == 0
    for name, sampler in (("eval", "drs"), ("sample", "advlat_z")):
        code, _, err = command(name, "checkpoint=whole", f"latent_sampler={sampler}", "device=cpu")
        assert code == 2
        assert "reads a discriminator, and Drifting trains none" in err
        assert err.count("\n") == 1
    code, _, err = command("eval", "checkpoint=whole", "attack=fgsm", "device=cpu")
    assert code == 2
    assert "the run trained no discriminator" in err


@pytest.mark.parametrize(
    ("overrides", "message"),
    every_third_quick(
        [
            (["regularizer=r1"], "regularizer.r1 is of the discriminator, and the run trains none: remove it"),
            (["regularizer=spectral_norm"], "regularizer.spectral_norm is of the discriminator, and the run trains"),
            (["regularizer=feature_matching"], "regularizer.feature_matching: Pixels has no nn.Linear"),
            (["regularizer=zcr"], "of the discriminator, and the run trains none"),
            (["latent_sampler=ddls"], "latent_sampler: DDLS reads a discriminator, and Drifting trains none"),
            (["latent_sampler=logan"], "latent_sampler: LOGAN reads a discriminator, and Drifting trains none"),
            (["conditioning=concat"], "Drifting trains no discriminator to be given labels"),
            (["augmentation=ada"], "augmentation: "),
            (["labelled_batch_size=4"], "Drifting reads no labels: remove labelled_batch_size=4"),
            (["model=conv_large"], "Drifting needs a generator, and the model has none"),
            (["metrics@dataset.metrics=classification", "dataset.num_held_out=99"], "reads class logits"),
            (["features@objective.features=digits"], "objective.features has trained weights of the family shipped"),
            (["objective.temperatures=[]"], "objective: temperatures=[] must be one or more numbers above 0"),
            (
                ["objective=stdgan", "model.discriminator=null"],
                "StdGAN trains a discriminator, and model.discriminator",
            ),
            (["objective=mcgan", "objective@objective.base=drifting"], "objective"),
        ],
    ),
    ids=lambda value: str(value)[:40],
)
def test_what_needs_a_discriminator_is_refused_in_one_line(
    command: Command, overrides: list[str], message: str
) -> None:
    code, _, err = command("train", "objective=drifting", "batch_size=4", "device=cpu", "run_dir=run", *overrides)
    assert code in (1, 2)
    assert message in err
    assert err.count("\n") == 1
    assert not Path("run").exists()


def drifted(*overrides: str) -> list[Step]:
    return list(train(build_experiment(config_of([*SMALL, *overrides]), Engine())))


@pytest.mark.slow
def test_a_class_is_compared_with_itself_alone_where_the_generator_takes_labels() -> None:
    """Batches of two of each of two classes, so that each image has one other generated one and two real ones."""
    plain, by_class = drifted("generator_labels=none"), drifted("generator_labels=concat")
    assert plain[0].losses["generator"]["drifting"] != by_class[0].losses["generator"]["drifting"]


def test_the_features_come_with_the_package_and_not_in_the_checkpoint() -> None:
    experiment = build_experiment(config_of([*SMALL, *IN_FEATURES]), Engine())
    assert experiment.gan.parts()["discriminator"].state_dict() == {}
    loaded = ClassifierExtractor(name="mnist_v2").load().network.state_dict()
    before = {name: value.clone() for name, value in loaded.items()}
    held = experiment.game.discriminator.held[0]
    list(train(experiment))
    assert all(torch.equal(before[name], value) for name, value in held.state_dict().items())
    assert not held.training
