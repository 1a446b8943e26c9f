"""Tiny experiments, and a cache that no test shares with the user's own."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from gan_cli import cli
from gan_cli.config.build import build_experiment
from gan_cli.config.compose import compose
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.experiment import Experiment
from gan_cli.objectives import Realness

TINY = ["batch_size=4", "steps=3", "num_eval_images=16", "model.generator.width=4", "model.discriminator.width=4"]
TINY_MLP = [
    "batch_size=4",
    "steps=3",
    "num_eval_images=16",
    "model.generator.hidden=[8]",
    "model.discriminator.hidden=[8]",
]

A_CLASSIFIER = ["experiment=classifier", "batch_size=4", "labelled_batch_size=6", "steps=3"]
A_CLASSIFIER += ["model.discriminator.width=4"]
A_GENERATOR_ALONE = [setting for setting in TINY if not setting.startswith("model.discriminator")]
EVERY_LABEL: dict[str, Any] = {"num_labelled": None, "num_held_out": 0, "label_seed": 0}

Command = Callable[..., tuple[int, str, str]]


def tiny_data(model: str) -> list[str]:
    """A tiny version of the model, on data that it takes."""
    if model.startswith("mlp"):
        return [*TINY_MLP, "dataset=grid3", "dataset.points_per_mode=8"]
    return [*TINY, "dataset=digits", f"dataset.image_size={16 if model == 'dcgan' else 32}"]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One thread a process, so that workers do not fight; bitwise tests hold for any number, but a fixed one."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["GAN_CLI_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def composed_config(*overrides: str, config_name: str = "train") -> DictConfig:
    return compose(config_name, overrides)


def realness(**changes: Any) -> Realness:
    """The objective with its defaults, but for these."""
    node = config_of(["objective=realness"])["objective"]
    settings = {key: value for key, value in node.items() if key != "_target_"}
    return Realness(**(settings | changes))


@pytest.fixture
def experiment() -> Callable[..., Experiment]:
    """Builds an experiment from overrides, as gan-train would."""

    def build(*overrides: str) -> Experiment:
        return build_experiment(config_of(overrides), Engine())

    return build


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of 24 small photographs in two classes."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    for name, image in zip(("temple", "flower"), load_sample_images().images, strict=True):
        folder = tmp_path / "photographs" / name
        folder.mkdir(parents=True)
        for number in range(12):
            left = 20 * number
            Image.fromarray(image[left : left + 48, left : left + 64]).save(folder / f"{number}.png")
    return tmp_path / "photographs"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process, in an empty folder: exit code, stdout, stderr."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"gan-{name}", *arguments])
        capsys.readouterr()
        code = 0
        try:
            commands = {"train": cli.train, "eval": cli.evaluate, "sample": cli.sample, "export": cli.export}
            (commands | {"verify": cli.verify})[name]()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def in_float64() -> Iterator[None]:
    """New tensors are in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
