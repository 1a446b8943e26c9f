"""Train any GAN objective with any regularizer, latent sampler, model and data set, and compare them fairly.

As a library: `config_of` composes, `build_experiment` builds, `train` yields each step, `generate` makes images and
`build_scorer` scores them; examples/library.py shows how. No command line is needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_cli.config.build import build_experiment, build_scorer
    from gan_cli.config.read import config_of
    from gan_cli.engine import Engine, choose_engine
    from gan_cli.evaluation import generate
    from gan_cli.experiment import GAN, Experiment
    from gan_cli.game import Game
    from gan_cli.metrics.metrics import Subject
    from gan_cli.shapes import Examples, Latents
    from gan_cli.trainer import train

__version__ = "0.1.0"

MODULES = {  # imported on first use, so that a command that only reports a wrong override does not load torch
    "GAN": "experiment",
    "Engine": "engine",
    "Examples": "shapes",
    "Experiment": "experiment",
    "Game": "game",
    "Latents": "shapes",
    "Subject": "metrics.metrics",
    "build_experiment": "config.build",
    "build_scorer": "config.build",
    "choose_engine": "engine",
    "config_of": "config.read",
    "generate": "evaluation",
    "train": "trainer",
}

__all__ = [
    "GAN",
    "Engine",
    "Examples",
    "Experiment",
    "Game",
    "Latents",
    "Subject",
    "build_experiment",
    "build_scorer",
    "choose_engine",
    "config_of",
    "generate",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module 'gan_cli' has no attribute '{name}'")
    return getattr(import_module(f"gan_cli.{MODULES[name]}"), name)
