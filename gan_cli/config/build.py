"""Config to Experiment: the only file that turns config into objects.

Shapes flow one way: the data set fixes the image shape, the latent sampler the latent width, the objective the number
of outcomes, and all three the players.
"""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn
from torch.optim import Optimizer

from gan_cli.config.check import SETTINGS
from gan_cli.config.nodes import Config
from gan_cli.data import Table
from gan_cli.datasets.dataset import Dataset
from gan_cli.errors import UserError, one_line
from gan_cli.experiment import Experiment, Players, RunSettings
from gan_cli.game import Game
from gan_cli.metrics.metrics import Scorer, WeightsUnavailableError
from gan_cli.regularizers.regularizer import Constraint, Regularizer
from gan_cli.runs.checkpoint import Checkpoint
from gan_cli.seeding import mix


def build_experiment(config: Config, device: torch.device) -> Experiment:
    """Loads the data and builds the players; raises UserError where parts do not fit each other."""
    settings = RunSettings(**{name: config[name] for name in SETTINGS})
    dataset = build_dataset(config)
    table = load_table(dataset)
    if len(table) < settings.batch_size:
        raise UserError(
            f"batch_size={settings.batch_size} is more than the {len(table)} images of the data set: lower it"
        )
    players = build_players(config, table.image_shape, device)
    named = built_regularizers(config)
    warn_of_idle(named, settings)
    game = players.game
    return Experiment(
        players=players,
        regularizers={name: part for name, part in named.items() if isinstance(part, Regularizer)},
        constraints=[part for part in named.values() if isinstance(part, Constraint)],
        generator_optimizer=build_optimizer("generator_optimizer", config, game.generator),
        discriminator_optimizer=build_optimizer("discriminator_optimizer", config, game.discriminator),
        dataset=dataset,
        table=table.to(device),
        settings=settings,
    )


def build_dataset(config: Config) -> Dataset:
    dataset: Dataset = build("dataset", config["dataset"])
    return dataset


def load_table(dataset: Dataset) -> Table:
    try:
        return dataset.load()
    except (ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise UserError(f"the data set cannot be loaded: {one_line(error) or 'it does not fit into memory'}") from error


def build_scorer(experiment: Experiment) -> tuple[Scorer | None, str]:
    """The scorer, or None and the reason why its weights cannot be had; raises UserError for wrong weights."""
    try:
        return experiment.dataset.metrics.against(experiment.table, experiment.num_eval_images), ""
    except WeightsUnavailableError as error:
        return None, one_line(error)
    except ValueError as error:
        raise UserError(one_line(error)) from error


def build_players(config: Config, image_shape: tuple[int, int, int], device: torch.device) -> Players:
    """Both players with their initial weights, a function of the seed alone."""
    torch.manual_seed(mix("init", config["seed"]))
    latent_sampler = build("latent_sampler", config["latent_sampler"])
    objective = build("objective", config["objective"])
    latent_dim = latent_sampler.sample(1, torch.device("meta")).shape[1]
    model = config["model"]
    generator = build("model.generator", model["generator"], latent_dim=latent_dim, image_shape=image_shape)
    discriminator = objective.head(
        lambda width: build("model.discriminator", model["discriminator"], image_shape=image_shape, num_outcomes=width)
    )
    ema_generator = copy.deepcopy(generator).eval().requires_grad_(False)
    players = {"generator": generator, "discriminator": discriminator}
    for constraint in built_regularizers(config).values():
        if isinstance(constraint, Constraint):
            constraint.impose(players[constraint.player])
    return Players(
        game=Game(placed(generator, device), placed(discriminator, device), objective),
        ema_generator=placed(ema_generator, device),
        latent_sampler=latent_sampler,
        device=device,
    )


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """On the device, with channels last in memory, which convolutions are fastest with."""
    return network.to(device).to(memory_format=torch.channels_last)


def built_regularizers(config: Config) -> dict[str, Regularizer | Constraint]:
    return {name: build(f"regularizer.{name}", node) for name, node in config["regularizer"].items()}


def warn_of_idle(named: Mapping[str, Regularizer | Constraint], settings: RunSettings) -> None:
    turns = {
        "discriminator": settings.steps * settings.discriminator_steps,
        "generator": settings.steps * settings.generator_steps,
    }
    for name, part in named.items():
        if isinstance(part, Regularizer) and part.every > turns[part.player]:
            warnings.warn(
                f"regularizer.{name}.every={part.every} is more than the {turns[part.player]} turns of the run: "
                "it is never added",
                stacklevel=2,
            )


def build_optimizer(name: str, config: Config, player: nn.Module) -> Optimizer:
    # torch refuses betas that mix int and float, as [0, 0.9] in YAML does
    node = {
        key: tuple(float(item) for item in value) if isinstance(value, list) else value
        for key, value in config[name].items()
    }
    optimizer: Optimizer = build(name, node, params=player.parameters())
    return optimizer


def build(path: str, node: Mapping[str, Any], **given: Any) -> Any:
    """One object from one node and what the config does not say; raises UserError where the class refuses a value."""
    try:
        return instantiate(node, _partial_=True, _convert_="all")(**given)
    except InstantiationException as error:
        raise UserError(f"{path}: {one_line(error.__cause__ or error)}") from error
    except (ValueError, TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise UserError(f"{path}: {one_line(error)}") from error


def load_players(checkpoint: Checkpoint, config: Config, device: torch.device) -> Players:
    """The players of a checkpoint, without its data."""
    players = build_players(config, checkpoint.image_shape, device)
    checkpoint.restore(players.parts(), device)
    return players
