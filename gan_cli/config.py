"""A composed config as data: every unknown key, wrong type and value out of range is found before anything is built."""

import difflib
import inspect
import math
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from beartype import BeartypeConf
from beartype.door import is_bearable
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from torch.optim import Optimizer

from gan_cli.datasets.dataset import Dataset
from gan_cli.errors import UserError
from gan_cli.experiment import RunSettings
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.objectives.objective import Objective
from gan_cli.regularizers.regularizer import Constraint, Regularizer

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
