"""A config as data: every unknown key, wrong type and value out of range is found before anything is built."""

import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from hydra.utils import get_class, get_method, instantiate
from torch import nn
from torch.optim import Optimizer

from gan_cli.attacks.attack import Attack
from gan_cli.augmentations.augmentation import Augmentation
from gan_cli.conditioning.conditioning import DiscriminatorLabels, GeneratorLabels
from gan_cli.config.nodes import LATER, Config, is_node, leaves, targets
from gan_cli.config.plain import bearable, described, missing, not_one_of, unknown
from gan_cli.datasets.dataset import Dataset
from gan_cli.engine import EngineSettings
from gan_cli.errors import UserError, one_line
from gan_cli.experiment import RunSettings
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.metrics.extractor import Extractor
from gan_cli.metrics.metrics import Metric, Metrics
from gan_cli.objectives.objective import Objective
from gan_cli.part import Part
from gan_cli.ranges import range_problems
from gan_cli.regularizers.regularizer import Bound
from gan_cli.schedule import LAST_STEP, Schedule, is_whole, kind_of, value_at
from gan_cli.trackers import Tracker

BASES: dict[str, tuple[type, ...]] = {
    "dataset": (Dataset,),
    "model": (nn.Module,),
    "generator_labels": (GeneratorLabels,),
    "discriminator_labels": (DiscriminatorLabels,),
    "objective": (Objective,),
    "latent_sampler": (LatentSampler,),
    "regularizer": (Bound,),
    "augmentation": (Augmentation,),
    "generator_optimizer": (Optimizer,),
    "discriminator_optimizer": (Optimizer,),
}
OF_PROCESS: dict[str, tuple[type, ...]] = {
    "tracker": (Tracker,),
    "attack": (Attack,),
}  # not in a run's config: not in a checkpoint
NESTED = (Metrics, Metric, Extractor, Attack, Part, Schedule, nn.Module)  # what a part may contain
NODES = {  # these must name one class
    "dataset",
    "model.generator",
    "model.discriminator",
    "generator_labels",
    "discriminator_labels",
    "objective",
    "latent_sampler",
    "augmentation",
    "generator_optimizer",
    "discriminator_optimizer",
}
OPTIONAL = {"model.discriminator"}  # or null
# What build.py gives and a config never has: to any class that asks for it, and to networks.
NUM_CLASSES = "num_classes"
SHAPES = {"latent_dim", "image_shape", "num_outcomes"}
SETTINGS = [setting.name for setting in fields(RunSettings)]
ENGINE = typing.get_type_hints(EngineSettings)
# Of runs of earlier versions, whose configs have no engine.
ENGINE_BEFORE = {"precision": "float32", "compile": False, "capture": False}
# likewise, of settings that they do not have
SETTINGS_BEFORE: dict[str, Any] = {"num_evaluation_seeds": 1} | {k: LATER[k] for k in SETTINGS if k in LATER}
INITIAL = {"sha256": str, "step": int}  # what `init_from` of a config says of the weights that its run began with


def config_problems(config: Config) -> list[str]:
    """Everything that is wrong with an experiment's config."""
    problems = missing(SETTINGS_BEFORE | config, [*BASES, *SETTINGS])
    if problems:
        return problems
    named = dict(targets(config))
    absent = {path for path, value in leaves(config) if value is None} & OPTIONAL
    problems += [f"{path} must name a class: {path}._target_=<class>" for path in sorted(NODES - absent - set(named))]
    if isinstance(config["model"], dict):
        problems += [unknown(f"model.{key}", NODES) for key in config["model"] if f"model.{key}" not in NODES]
    if not isinstance(config["regularizer"], dict) or not all(is_node(node) for node in config["regularizer"].values()):
        problems.append("regularizer must hold one named regularizer each: regularizer=none or regularizer=[r1]")
    initial = config.get("init_from")
    if initial is not None and not (
        isinstance(initial, dict) and initial.keys() == INITIAL.keys() and not type_problems(initial, INITIAL)
    ):
        problems.append("init_from must hold the sha256 and the step of the weights that the run began with")
    problems += setting_problems(config) + engine_problems(engine_of(config)) + part_problems(config)
    return list(dict.fromkeys(problems))  # a schedule's are found where it is, and where it is used


def tracker_problems(nodes: Any) -> list[str]:
    """Problems of a run's trackers, also a package that is not installed."""
    if not isinstance(nodes, dict) or not all(is_node(node) for node in nodes.values()):
        return ["tracker must hold one named tracker each: tracker=none or tracker=[tensorboard,wandb]"]
    problems = part_problems({"tracker": nodes})
    if problems:
        return problems
    classes: dict[str, Any] = {name: find_class(f"tracker.{name}", node["_target_"]) for name, node in nodes.items()}
    packages = {name: tracker.package for name, tracker in classes.items()}
    return [
        f"tracker.{name} needs the package {package}: pip install {package}"
        for name, package in packages.items()
        if package and not is_installed(package)
    ]


def is_installed(package: str) -> bool:
    """Whether it can be imported; a mere folder of that name, as W&B makes them, is no package."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None


def part_problems(config: Config) -> list[str]:
    """Problems of the parts that a config names, and of its numbers."""
    problems = [f"{path}={value} must be a finite number" for path, value in leaves(config) if not finite(value)]
    return problems + [problem for path, node in targets(config) for problem in node_problems(path, node)]


def finite(value: Any) -> bool:
    """Whether it is finite also as a float32, the type that the networks compute in."""
    return not isinstance(value, float) or abs(value) <= torch.finfo(torch.float32).max


def setting_problems(config: Config) -> list[str]:
    hints, declared = typing.get_type_hints(RunSettings), typing.get_type_hints(RunSettings, include_extras=True)
    problems = type_problems(config, hints)
    for name, hint in hints.items():
        given = config.get(name, SETTINGS_BEFORE.get(name))
        if not value_problems(name, given, hint):
            scheduled = with_schedules(given)
            ends = [value_at(scheduled, step) for step in ((0, LAST_STEP) if isinstance(given, dict) else (0,))]
            numbers = [end for end in ends if end == end]  # a NaN has a line of its own
            problems += [problem for number in numbers for problem in range_problems(name, number, declared[name])]
    return problems


def engine_of(config: Config) -> Any:
    """Its node, complete for a run of an earlier version."""
    node = config.get("engine", ENGINE_BEFORE)
    return LATER["engine"] | node if isinstance(node, dict) else node


def engine_problems(node: Any) -> list[str]:
    if not isinstance(node, dict):
        return [f"engine={node} must be a mapping: set engine.precision=<word>"]
    given, known = {f"engine.{key}" for key in node}, [f"engine.{key}" for key in ENGINE]
    problems = [unknown(key, known) for key in sorted(given) if key not in known] + missing(given, known)
    return problems + type_problems(node, ENGINE, "engine.")


def type_problems(values: Mapping[str, Any], hints: Mapping[str, Any], path: str = "") -> list[str]:
    """One line for each value that does not fit the type of its key."""
    given = {key: values[key] for key in hints if key in values}
    return [problem for key in given for problem in value_problems(f"{path}{key}", given[key], hints[key])]


def value_problems(key: str, value: Any, hint: Any) -> list[str]:
    problems = [f"{key} is empty: give a value"] if value == "" else []
    if isinstance(value, dict) and Schedule in typing.get_args(hint):
        return problems + schedule_problems(key, value)
    return problems + ([] if fits(value, hint) else [wrong_type(key, value, hint)])


def schedule_problems(path: str, value: dict[str, Any]) -> list[str]:
    """Problems of a schedule in place of a number, written with a class or without one."""
    if is_node(value):
        problems = node_problems(path, value)
        if not problems and not issubclass(get_class(value["_target_"]), Schedule):
            problems = [f"{path}._target_={value['_target_']} is not a Schedule"]
    else:
        problems = plain_schedule_problems(path, value)
    if not problems:
        try:
            for step in (0, LAST_STEP):
                value_at(with_schedules(value), step)
        except Exception as error:  # the class may be the user's own
            problems = [f"{path}: {one_line(error.__cause__ or error)}"]
    return problems


def plain_schedule_problems(path: str, value: dict[str, Any]) -> list[str]:
    hints = typing.get_type_hints(kind_of(value))
    problems = [unknown(f"{path}.{key}", [f"{path}.{name}" for name in hints]) for key in value if key not in hints]
    problems += missing({f"{path}.{key}" for key in value}, [f"{path}.{key}" for key in hints if key != "since"])
    return problems + type_problems(value, hints, f"{path}.")


def with_schedules(node: Any) -> Any:
    """The node with each schedule in it, written with or without a class, as a Schedule."""
    if isinstance(node, dict):
        if is_whole(node):
            return kind_of(node)(**node)
        if is_node(node) and issubclass(get_class(node["_target_"]), Schedule):
            return instantiate(node)
        return {key: with_schedules(value) for key, value in node.items()}
    return [with_schedules(value) for value in node] if isinstance(node, list) else node


def fits(value: Any, hint: Any) -> bool:
    """Whether the value fits the hint; a node, also in a list or a mapping, is of the class it names."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if is_node(value) and origin is not typing.Literal:
        if origin in (list, dict, Sequence, Mapping):
            return origin in (dict, Mapping) and arguments[1] is Any
        try:
            return hint is Any or not isinstance(hint, type) or issubclass(get_class(value["_target_"]), hint)
        except Exception:  # a class that cannot be imported is reported separately
            return True
    if origin in (list, Sequence) and isinstance(value, list):
        return all(fits(item, arguments[0]) for item in value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return all(fits(item, arguments[1]) for item in value.values())
    return bearable(value, hint)


def bases_of(path: str) -> tuple[type, ...]:
    """The base classes allowed at this place; empty for a place that names no class."""
    group, depth = path.split(".")[0], path.count(".")
    bases = (BASES | OF_PROCESS).get(group, (Schedule,) * (group in SETTINGS))
    return bases if depth <= (group in ("model", "regularizer", "tracker")) else NESTED


def find_class(path: str, name: Any) -> type:
    """The class; raises UserError if it cannot be imported or does not belong there."""
    bases = bases_of(path)
    if not isinstance(name, str):
        raise UserError(f"{path}._target_={'null' if name is None else name} must name a class")
    try:
        target = get_class(name)
    except Exception as error:
        raise UserError(f"{path}._target_={name} cannot be imported: {not_imported(error)}") from error
    if not (isinstance(target, type) and bases and issubclass(target, bases)):
        wanted = " or ".join(base.__name__ for base in bases) or "known part"
        raise UserError(f"{path}._target_={name} is not a {wanted}")
    return target


def find_function(key: str, name: str) -> Callable[..., Any]:
    """The function; raises UserError if it cannot be imported."""
    try:
        return get_method(name)
    except Exception as error:
        raise UserError(f"{key}: {name} cannot be imported: {not_imported(error)}") from error


def not_imported(error: BaseException) -> str:
    """Why, and where a package is looked for if it is not found."""
    cause = error.__cause__
    if not isinstance(cause, ModuleNotFoundError):
        return one_line(error)
    module, _, name = str(cause.name).rpartition(".")
    if module in sys.modules:
        return f"{module} has no {name}"
    where = "it has to be installed, lie beside the folder of --config-dir, or be in PYTHONPATH"
    return f"no module named '{cause.name}': {where}"


def node_problems(path: str, node: dict[str, Any]) -> list[str]:
    """Problems of one node: a wrong class, unknown or missing keys, and values of the wrong type."""
    try:
        target = find_class(path, node["_target_"])
    except UserError as error:
        return [str(error)]
    from_code = {NUM_CLASSES} | (SHAPES if path.startswith("model.") else set())
    from_code = {"params"} if issubclass(target, Optimizer) else from_code
    parameters = {
        name: parameter for name, parameter in inspect.signature(target).parameters.items() if name not in from_code
    }
    given = {key: value for key, value in node.items() if key != "_target_"}
    problems = [
        unknown(f"{path}.{key}", {f"{path}.{name}" for name in parameters}) for key in given if key not in parameters
    ]
    required = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
    hints = typing.get_type_hints(target.__init__)  # type: ignore[misc]
    problems += [
        f"{path}.{name} is missing: add {defaults_line(name)}"
        if hints.get(name) is Metrics
        else f"{path}.{name} is missing: add {path}.{name}=<value>"
        for name in required
        if name not in given
    ]
    if issubclass(target, Optimizer):
        scheduled, given = at_the_start(path, given)
        problems += scheduled
    return problems + type_problems(given, {key: hints[key] for key in given if key in hints}, f"{path}.")


def at_the_start(path: str, given: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Problems of an optimizer's schedules; and its settings in the first step, with pairs as tuples, as in torch."""
    problems = []
    for key, value in given.items():
        for item in value if isinstance(value, list) else [value]:
            problems += schedule_problems(f"{path}.{key}", item) if isinstance(item, dict) else []
    if problems:
        return problems, {key: value for key, value in given.items() if not isinstance(value, dict | list)}
    return [], {key: value_at(as_pair(with_schedules(value)), 0) for key, value in given.items()}


def as_pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def wrong_type(key: str, value: Any, hint: Any) -> str:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is list and isinstance(value, list):
        number, item = next((number, item) for number, item in enumerate(value) if not fits(item, arguments[0]))
        return wrong_type(f"{key}[{number}]", item, arguments[0])
    literals = [option for option in (hint, *arguments) if typing.get_origin(option) is typing.Literal]
    if literals:
        options = [choice for literal in literals for choice in typing.get_args(literal)]
        others = "".join(f", or a {option.__name__}" for option in arguments if option is Metric)
        others += ", or a number or a schedule" if Schedule in arguments else ""
        return not_one_of(key, value, options, others)
    shown = "null" if value is None else value
    if typing.get_origin(hint) is tuple:
        count = len(typing.get_args(hint))
        return f"{key}={list(value) if isinstance(value, tuple) else shown} must be a list of {count} numbers"
    if Schedule in typing.get_args(hint):
        return f"{key}={shown} must be a number, {{start, end, until, shape}} or {{start, factor, every}}"
    if hint in (LatentSampler, Metrics):
        noun, group = ("a latent sampler", "latent_sampler") if hint is LatentSampler else ("the metrics", "metrics")
        by_file = f", or add {defaults_line(key.split('.')[-1])}" if hint is Metrics else ""
        return f"{key}={shown} is not {noun}: choose with {group}@{key}=<choice>{by_file}"
    return f"{key}={shown} must be {described(hint)}"


def defaults_line(name: str) -> str:
    return f"- /metrics@{name}: <choice> to the defaults of its YAML"
