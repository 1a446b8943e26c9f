"""A composed config as data: every unknown key, wrong type and value out of range is found before anything is built."""

import difflib
import inspect
import math
import re
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import torch
from beartype import BeartypeConf
from beartype.door import is_bearable
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from torch import nn
from torch.optim import Optimizer

from gan_cli.datasets.dataset import Dataset
from gan_cli.errors import UserError
from gan_cli.experiment import RunSettings
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.metrics.extractor import Extractor
from gan_cli.metrics.metrics import Metrics
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
NESTED = (Metrics, Extractor, LatentSampler)  # what a part may itself be made of
NODES = {  # where one class has to be named
    "dataset",
    "model.generator",
    "model.discriminator",
    "objective",
    "latent_sampler",
    "generator_optimizer",
    "discriminator_optimizer",
}
SHAPES = {"latent_dim", "image_shape", "num_outcomes"}  # given to the players below, never in their config
OPTIONS: dict[str, Any] = {  # about this process, not about the experiment
    "device": str,
    "run_dir": str | None,
    "outputs": str,
    "resume": str | None,
    "trust": list[str],
}
EVALUATION: dict[str, Any] = {
    "self_check": bool,
    "checkpoint": str,
    "which": typing.Literal["latest", "best"],
    "num_eval_images": int | None,
    "evaluation_seed": int | None,
    "dataset": dict[str, str | None],
    "latent_sampler": dict[str, Any] | None,
    "out": str | None,
    "device": str,
    "trust": list[str],
}
SAMPLING: dict[str, Any] = {
    "checkpoint": str,
    "which": typing.Literal["latest", "best"],
    "num_images": int,
    "seed": int,
    "dataset": dict[str, str | None],
    "latent_sampler": dict[str, Any] | None,
    "out": str | None,
    "device": str,
    "trust": list[str],
}
REPORTING: dict[str, Any] = {"folders": list[str], "baseline": str | None, "out": str | None}
SETTINGS = [setting.name for setting in fields(RunSettings)]


def read_config(composed: DictConfig) -> tuple[Config, dict[str, Any]]:
    """The experiment's own config as plain resolved data, and the options of this process.

    Raises UserError that names every unknown key, wrong type and value out of range at once.
    """
    read = set(BASES) | set(OPTIONS) | set(SETTINGS) | interpolated_keys(composed)
    problems = [replaced(key, composed) or unknown(key, read) for key in composed if str(key) not in read]
    try:
        config: Config = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise UserError(f"{key} needs a value: add {key}=<value>" if key else one_line(error)) from error
    problems += missing(config, OPTIONS) + type_problems(config, OPTIONS) + config_problems(config)
    if problems:
        raise UserError("; ".join(problems))
    return {key: value for key, value in config.items() if key not in OPTIONS}, {key: config[key] for key in OPTIONS}


def read_plain(composed: DictConfig, hints: Mapping[str, Any], question: str) -> dict[str, Any]:
    """Options that name no parts; raises UserError that names everything wrong, or asks for what is missing."""
    options = resolved(composed, question)
    problems = [unknown(key, hints) for key in options if key not in hints]
    problems += missing(options, hints) + type_problems(options, hints)
    if problems:
        raise UserError("; ".join(problems))
    return options


def resolved(composed: DictConfig, question: str) -> dict[str, Any]:
    """Options as plain data; raises UserError that asks `question` where a value is missing."""
    try:
        options: dict[str, Any] = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except MissingMandatoryValue as error:
        raise UserError(question) from error
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from error
    return options


def read_options(composed: DictConfig, hints: Mapping[str, Any]) -> dict[str, Any]:
    """The options of gan-eval or gan-sample; raises UserError that names everything wrong with them at once."""
    if "latent_dim" in composed:
        raise UserError("latent_dim is the checkpoint's own: remove it")
    composed = composed.copy()
    OmegaConf.update(composed, "latent_dim", None, force_add=True)  # what priors refer to is the checkpoint's
    options = resolved(composed, "which run? give its folder: checkpoint=outputs/<run>")
    del options["latent_dim"]
    options.setdefault("latent_sampler", None)
    problems = [unknown(key, hints) for key in options if key not in hints]
    problems += [
        f"{path}={value} is the checkpoint's own: remove it"
        for path, value in leaves(options["latent_sampler"], "latent_sampler")
        if path.endswith(".latent_dim") and value is not None
    ]
    problems += missing(options, hints) + type_problems(options, hints)
    lowest = {"num_images": 1, "num_eval_images": 1, "seed": 0, "evaluation_seed": 0}
    problems += [
        f"{key}={options[key]} must be at least {least}"
        for key, least in lowest.items()
        if isinstance(options.get(key), int) and options[key] < least
    ]
    if isinstance(options.get("dataset"), dict):
        problems += [unknown(f"dataset.{key}", ["dataset.root"]) for key in options["dataset"] if key != "root"]
    if problems:
        raise UserError("; ".join(problems))
    return options


def config_problems(config: Config) -> list[str]:
    """All that is wrong with an experiment's config, wherever it came from."""
    problems = missing(config, [*BASES, *SETTINGS])
    if problems:
        return problems
    named = dict(targets(config))
    problems += [f"{path} must name a class: {path}._target_=<class>" for path in sorted(NODES - set(named))]
    if not isinstance(config["regularizer"], dict) or not all(is_node(node) for node in config["regularizer"].values()):
        problems.append("regularizer must hold one named regularizer each: regularizer=none or regularizer=[r1]")
    problems += [f"{path}={value} must be a finite number" for path, value in leaves(config) if not finite(value)]
    problems += setting_problems(config)
    return problems + [problem for path, node in named.items() for problem in node_problems(path, node)]


def missing(given: Collection[str], keys: Iterable[str]) -> list[str]:
    return [f"{key} is missing: add {key}=<value>" for key in keys if key not in given]


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, with its dotted path."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    elif isinstance(config, list):
        for value in config:
            yield from leaves(value, path)
    else:
        yield path, config


def flatten(node: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {path: node}
    leaves = (flatten(value, f"{path}.{key}".lstrip(".")) for key, value in node.items())
    return {name: value for branch in leaves for name, value in branch.items()}


def finite(value: Any) -> bool:
    """Finite as a float32, too, which is what the networks compute in."""
    return not isinstance(value, float) or abs(value) <= torch.finfo(torch.float32).max


def interpolated_keys(composed: DictConfig) -> set[str]:
    """Root keys that some other value refers to: a choice introduced them, as realness does num_outcomes."""
    text = OmegaConf.to_yaml(composed, resolve=False)
    return set(re.findall(r"\$\{(\w+)", text))


def replaced(key: Any, composed: DictConfig) -> str:
    """What to say of a root key that lost its reader, as num_outcomes does to objective.num_outcomes=7."""
    paths = [path for path, _ in leaves(OmegaConf.to_container(composed)) if path.endswith(f".{key}")]
    return f"nothing reads {key} any more: give {key}=<value> in place of {paths[0]}" if paths else ""


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
    start, steps = config["decay_start"], config["steps"]
    if isinstance(start, int) and isinstance(steps, int) and start >= steps:
        problems.append(f"decay_start={start} must be below steps={steps}")
    return problems


def type_problems(values: Mapping[str, Any], hints: Mapping[str, Any], path: str = "") -> list[str]:
    """One line for each value that is not what its key calls for."""
    given = {key: values[key] for key in hints if key in values and not is_node(values[key])}
    problems = [f"{path}{key} is empty: give a value" for key, value in given.items() if value == ""]
    return problems + [
        wrong_type(f"{path}{key}", value, hints[key]) for key, value in given.items() if not bearable(value, hints[key])
    ]


def bases_of(path: str) -> tuple[type, ...]:
    """What a class named at this place has to be; nothing for a place that names none."""
    group, depth = path.split(".")[0], path.count(".")
    return BASES.get(group, ()) if depth <= (group in ("model", "regularizer")) else NESTED


def find_class(path: str, name: Any) -> type:
    """The class; raises UserError where it cannot be imported or is not what belongs there."""
    bases = bases_of(path)
    if not isinstance(name, str):
        raise UserError(f"{path}._target_={'null' if name is None else name} must name a class")
    try:
        target = get_class(name)
    except Exception as error:
        raise UserError(f"{path}._target_={name} cannot be imported: {one_line(error)}") from error
    if not (isinstance(target, type) and bases and issubclass(target, bases)):
        wanted = " or ".join(base.__name__ for base in bases) or "known part"
        raise UserError(f"{path}._target_={name} is not a {wanted}")
    return target


def node_problems(path: str, node: dict[str, Any]) -> list[str]:
    """A class that does not belong there, keys that it does not take or lacks, and values of the wrong type."""
    try:
        target = find_class(path, node["_target_"])
    except UserError as error:
        return [str(error)]
    from_code = SHAPES if path.startswith("model.") else {"params"} if issubclass(target, Optimizer) else set()
    parameters = {
        name: parameter for name, parameter in inspect.signature(target).parameters.items() if name not in from_code
    }
    given = {key: value for key, value in node.items() if not key.startswith("_")}
    problems = [
        unknown(f"{path}.{key}", {f"{path}.{name}" for name in parameters}) for key in given if key not in parameters
    ]
    required = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
    problems += missing({f"{path}.{key}" for key in given}, [f"{path}.{name}" for name in required])
    if issubclass(target, Optimizer):  # torch spells pairs as tuples, YAML as lists
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    hints = typing.get_type_hints(target.__init__)  # type: ignore[misc]
    return problems + type_problems(given, {key: hints[key] for key in given if key in hints}, f"{path}.")


def is_node(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


def bearable(value: Any, hint: Any) -> bool:
    truth_is_no_number = isinstance(value, bool) and (
        hint in (int, float, int | None, float | None)
        or (typing.get_origin(hint) is typing.Literal and bool not in map(type, typing.get_args(hint)))
    )
    return is_bearable(value, hint, conf=BeartypeConf(is_pep484_tower=True)) and not truth_is_no_number


def wrong_type(key: str, value: Any, hint: Any) -> str:
    names = {
        int: "an integer",
        float: "a number",
        str: "text",
        bool: "true or false",
        int | None: "an integer or null",
        float | None: "a number or null",
        str | None: "text or null",
    }
    if typing.get_origin(hint) is typing.Literal:
        choices = [str(choice) for choice in typing.get_args(hint)]
        return f"{key}={value} must be one of {', '.join(choices)}" + did_you_mean(str(value), choices)
    shown = "null" if value is None else value
    if hint is LatentSampler:
        return f"{key}={shown} is not a latent sampler: choose one with latent_sampler@{key}=<choice>"
    return f"{key}={shown} must be {names.get(hint, str(hint).replace('typing.', ''))}"


def unknown(key: Any, known: Iterable[str]) -> str:
    return f"unknown key '{key}'" + (did_you_mean(str(key), known) or ": nothing reads it")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]}?" if close else ""


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
