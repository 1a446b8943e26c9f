"""A trained run, opened for scoring or sampling."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from gan_cli.config.build import build_dataset, build_gan, build_imposed
from gan_cli.config.nodes import Config
from gan_cli.datasets.dataset import Dataset
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.experiment import GAN
from gan_cli.runs import checkpoint
from gan_cli.runs.checkpoint import Checkpoint, trusted_config


@dataclass(frozen=True)
class Trained:
    found: Checkpoint
    config: Config
    gan: GAN
    dataset: Dataset

    @property
    def name(self) -> str:
        """The name for results of this checkpoint."""
        return f"{self.found.folder.resolve().parents[1].name}-step-{self.found.step}"


def open_trained(path: Path, which: str, trust: list[str], root: str | None, engine: Engine) -> Trained:
    """Opens and checks the checkpoint, builds the networks and restores them; `root` is where the data is now.

    Raises UserError for a checkpoint that is missing, damaged or not trusted, and for a `root` if the data has none.
    """
    found = checkpoint.find(path, which)
    config = trusted_config(found, trust)
    gan = build_gan(config, found.image_shape, engine, build_imposed(config, engine))
    found.restore(gan.parts(), engine.device)
    return Trained(found, config, gan, with_root(build_dataset(config), root))


def with_root(dataset: Dataset, root: str | None) -> Dataset:
    """The data set with another root, if one is given.

    It downloads nothing: a file from elsewhere must not choose where a download is written.
    """
    names = {field.name for field in fields(dataset)}
    if root is not None and "root" not in names:
        raise UserError("the checkpoint's data set has no root: remove dataset.root")
    changes: dict[str, Any] = {"download": False} if "download" in names else {}
    return replace(dataset, **changes | ({} if root is None else {"root": root}))
