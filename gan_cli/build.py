"""Config to Experiment: the only file that turns config into objects.

Shapes flow one way: the data set fixes the image shape, the latent sampler the latent width, the objective the number
of outcomes, and all three the players.
"""

import copy
import difflib
import inspect
import math
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import torch
from beartype import BeartypeConf
from beartype.door import is_bearable
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from torch.optim import Optimizer

from gan_cli.checkpoint import STATE, Checkpoint
from gan_cli.datasets.dataset import Dataset
from gan_cli.experiment import Experiment, Players, RunSettings
from gan_cli.game import Game
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.metrics.extractor import Extractor
from gan_cli.metrics.metrics import Metrics, Scorer, WeightsUnavailableError
from gan_cli.objectives.objective import Objective
from gan_cli.regularizers.regularizer import Constraint, Regularizer
from gan_cli.seeding import mix

Config = dict[str, Any]

BASES: dict[str, tuple[type, ...]] = {
    "dataset": (Dataset,),
    "model": (nn.Module,),
    "objective": (Objective,),
    "latent_sampler": (LatentSampler,),
    "regularizer": (Regularizer, Constraint),
    "generator_optimizer": (Optimizer,),
    "discriminator_optimizer": (Optimizer,),
}
NESTED = (Metrics, Extractor, LatentSampler)
SHAPES = {"latent_dim", "image_shape", "num_outcomes"}  # given to the players below, never in their config
OPTIONS: dict[str, Any] = {  # about this process, not about the experiment
    "device": str,
    "run_dir": str | None,
    "outputs": str,
    "resume": str | None,
    "trust": list[str],
}
COMMANDS: dict[str, Any] = {  # what gan-eval and gan-sample take
    "checkpoint": str,
    "which": typing.Literal["latest", "best"],
    "num_eval_images": int | None,
    "evaluation_seed": int | None,
    "dataset": dict[str, str | None],
    "num_images": int,
    "seed": int,
    "out": str | None,
    "device": str,
    "trust": list[str],
}
SETTINGS = [setting.name for setting in fields(RunSettings)]


class UserError(Exception):
    """The user asked for something that cannot be; the message is one line: what, and how to mend it."""


def read_config(composed: DictConfig) -> tuple[Config, dict[str, Any]]:
    """The experiment's own config as plain resolved data, and the options of this process.

    Raises UserError that names every unknown key, wrong type and value out of range at once.
    """
    read = set(BASES) | set(OPTIONS) | set(SETTINGS) | interpolated_keys(composed)
    problems = [unknown(key, read) for key in composed if str(key) not in read]
    try:
        config: Config = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise UserError(f"{key} needs a value: add {key}=<value>" if key else one_line(error)) from error
    problems += type_problems(config, OPTIONS) + setting_problems(config)
    for path, node in targets(config):
        problems += node_problems(path, node)
    if problems:
        raise UserError("; ".join(problems))
    return {key: value for key, value in config.items() if key not in OPTIONS}, {key: config[key] for key in OPTIONS}


def option_problems(options: Mapping[str, Any]) -> list[str]:
    """What is wrong with the options of gan-eval or gan-sample."""
    problems = [unknown(key, COMMANDS) for key in options if key not in COMMANDS] + type_problems(options, COMMANDS)
    dataset = options.get("dataset", {})
    problems += [unknown(f"dataset.{key}", ["dataset.root"]) for key in dataset if key != "root"]
    lowest = {"num_images": 1, "num_eval_images": 1, "seed": 0, "evaluation_seed": 0}
    return problems or [
        f"{key}={options[key]} must be at least {least}"
        for key, least in lowest.items()
        if options.get(key) is not None and options[key] < least
    ]


def interpolated_keys(composed: DictConfig) -> set[str]:
    """Root keys that some other value refers to: a choice introduced them, as realness does num_outcomes."""
    text = OmegaConf.to_yaml(composed, resolve=False)
    return set(re.findall(r"\$\{(\w+)", text))


def targets(config: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node that names a class, with its dotted path."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield path, config
        for key, value in config.items():
            yield from targets(value, f"{path}.{key}" if path else str(key))
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from targets(value, f"{path}[{index}]")


def setting_problems(config: Config) -> list[str]:
    hints = typing.get_type_hints(RunSettings)
    problems = type_problems(config, hints)
    for setting in fields(RunSettings):
        value, limits = config[setting.name], setting.metadata
        if value is None or not bearable(value, hints[setting.name]):
            continue
        if value < limits["at_least"]:
            problems.append(f"{setting.name}={value} must be at least {limits['at_least']}")
        if value >= limits.get("below", math.inf):
            problems.append(f"{setting.name}={value} must be below {limits['below']}")
    return problems


def type_problems(values: Mapping[str, Any], hints: Mapping[str, Any], path: str = "") -> list[str]:
    """One line for each value that is not what its key calls for."""
    return [
        wrong_type(f"{path}{key}", values[key], hint)
        for key, hint in hints.items()
        if key in values and not is_node(values[key]) and not bearable(values[key], hint)
    ]


def node_problems(path: str, node: dict[str, Any]) -> list[str]:
    """Keys that the class does not take or lacks, and values of the wrong type."""
    try:
        target = get_class(node["_target_"])
    except Exception as error:
        return [f"{path}._target_={node['_target_']} cannot be imported: {one_line(error)}"]
    parameters = inspect.signature(target).parameters
    given = {key: value for key, value in node.items() if not key.startswith("_")}
    problems = [
        unknown(f"{path}.{key}", {f"{path}.{name}" for name in parameters}) for key in given if key not in parameters
    ]
    if issubclass(target, Optimizer):
        return problems  # what torch.optim accepts is wider than its annotations say
    required = {name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty}
    shapes = SHAPES if path.startswith("model.") else set()
    problems += [
        f"{path}.{name} is missing: add {path}.{name}=<value>" for name in sorted(required - shapes - set(given))
    ]
    hints = typing.get_type_hints(target.__init__)
    return problems + type_problems(given, {key: hints[key] for key in given if key in hints}, f"{path}.")


def is_node(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


def bearable(value: Any, hint: Any) -> bool:
    return is_bearable(value, hint, conf=BeartypeConf(is_pep484_tower=True)) and not (
        isinstance(value, bool) and hint in (int, float, int | None)
    )


def wrong_type(key: str, value: Any, hint: Any) -> str:
    names = {
        int: "an integer",
        float: "a number",
        str: "text",
        bool: "true or false",
        int | None: "an integer or null",
        str | None: "text or null",
    }
    if typing.get_origin(hint) is typing.Literal:
        choices = [str(choice) for choice in typing.get_args(hint)]
        return f"{key}={value} must be one of {', '.join(choices)}" + did_you_mean(str(value), choices)
    return f"{key}={value} must be {names.get(hint, str(hint).replace('typing.', ''))}"


def unknown(key: Any, known: typing.Iterable[str]) -> str:
    return f"unknown key '{key}'" + (did_you_mean(str(key), known) or ": nothing reads it")


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]}?" if close else ""


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def build_experiment(config: Config, device: torch.device) -> Experiment:
    """Loads the data and builds the players; raises UserError where parts do not fit each other."""
    settings = RunSettings(**{name: config[name] for name in SETTINGS})
    dataset = build_dataset(config)
    try:
        table = dataset.load()
    except ValueError as error:
        raise UserError(one_line(error)) from error
    if len(table) < settings.batch_size:
        raise UserError(
            f"batch_size={settings.batch_size} is more than the {len(table)} images of the data set: lower it"
        )
    players = build_players(config, table.image_shape, device)
    regularizers = {
        name: regularizer
        for name, regularizer in built_regularizers(config).items()
        if isinstance(regularizer, Regularizer)
    }
    game = players.game
    return Experiment(
        players=players,
        regularizers=regularizers,
        generator_optimizer=build_optimizer("generator_optimizer", config, game.generator),
        discriminator_optimizer=build_optimizer("discriminator_optimizer", config, game.discriminator),
        dataset=dataset,
        table=table.to(device),
        settings=settings,
    )


def build_dataset(config: Config) -> Dataset:
    dataset: Dataset = build("dataset", config["dataset"])
    return dataset


def build_scorer(experiment: Experiment) -> tuple[Scorer | None, str]:
    """The scorer, or None and the reason why its weights cannot be had; raises UserError for wrong weights."""
    try:
        return experiment.dataset.metrics.against(experiment.dataset, experiment.table, experiment.num_eval_images), ""
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
    discriminator = build(
        "model.discriminator", model["discriminator"], image_shape=image_shape, num_outcomes=objective.num_outcomes
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


def build_optimizer(name: str, config: Config, player: nn.Module) -> Optimizer:
    # torch refuses betas that mix int and float, as [0, 0.9] in YAML does
    node = {
        key: [float(item) for item in value] if isinstance(value, list) else value
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
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path}: {one_line(error)}") from error


def check_trust(config: Config, trust: list[str]) -> None:
    """Refuses a config from a file unless it only names classes of this package, torch.optim or a trusted package.

    Each has to be a subclass of its group's own base class, and defined where its name says. Nothing is imported or
    called before its package is known to be trusted.
    """
    packages = {"gan_cli", *trust}
    for path, value in leaves(config):
        if isinstance(value, str) and "${" in value:
            raise UserError(f"the checkpoint's config is refused: {path} holds an interpolation")
    missing = [key for key in (*BASES, *SETTINGS) if key not in config]
    if missing:
        raise UserError(f"the checkpoint's config is refused: it lacks {', '.join(missing)}")
    for path, node in targets(config):
        name = str(node["_target_"])
        refusal = f"the checkpoint's config is refused: {path}._target_={name}"
        group, depth = path.split(".")[0], path.count(".")
        bases = BASES.get(group, ()) if depth <= (group in ("model", "regularizer")) else NESTED
        package = name.split(".")[0]
        if package not in packages and not (bases == (Optimizer,) and name.startswith("torch.optim.")):
            raise UserError(f"{refusal} is outside gan_cli: add trust=[{package}] if you trust that package")
        try:
            target = get_class(name)
        except Exception as error:
            raise UserError(f"{refusal} cannot be found; known: {', '.join(known_targets(bases))}") from error
        if not issubclass(target, bases) or target.__module__.split(".")[0] not in {*packages, "torch"}:
            raise UserError(f"{refusal} is not a {' or '.join(base.__name__ for base in bases) or 'known part'}")
        if target.__module__.split(".")[0] == "torch" and bases != (Optimizer,):
            raise UserError(f"{refusal} is not defined in {package}")


def known_targets(bases: tuple[type, ...]) -> list[str]:
    names = []
    for base in bases:
        known: list[type] = base.__subclasses__()
        names += [f"{leaf.__module__}.{leaf.__qualname__}" for leaf in known]
    return sorted(name for name in names if name.startswith("gan_cli."))


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, dict):
        for key, value in config.items():
            yield f"{path}.{key} (key)", key
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    elif isinstance(config, list):
        for value in config:
            yield from leaves(value, path)
    else:
        yield path, config


def trusted_config(checkpoint: Checkpoint, trust: list[str]) -> Config:
    """The checkpoint's config, once it names nothing but trusted classes with their own parameters in range."""
    config = checkpoint.config
    check_trust(config, trust)
    problems = setting_problems(config) + [problem for at in targets(config) for problem in node_problems(*at)]
    if problems:
        raise UserError(f"the checkpoint's config is refused: {'; '.join(problems)}")
    with torch.device("meta"):  # weighs the players without allocating them
        sketch = build_players(config, checkpoint.image_shape, torch.device("meta"))
    weights = sum(p.numel() for part in (sketch.game.generator, sketch.game.discriminator) for p in part.parameters())
    if weights > (checkpoint.folder / STATE).stat().st_size:
        raise UserError(
            f"the checkpoint's config is refused: it asks for {weights:,} weights, which the file does not hold"
        )
    return config


def load_players(checkpoint: Checkpoint, config: Config, device: torch.device) -> Players:
    """The players of a checkpoint, without its data."""
    players = build_players(config, checkpoint.image_shape, device)
    checkpoint.restore(players.parts(), device)
    return players
