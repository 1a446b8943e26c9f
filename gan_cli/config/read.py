"""Turns a composed config into plain checked data; all problems are reported at once, before anything is built."""

import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_cli.config.check import (
    BASES,
    SETTINGS,
    config_problems,
    part_problems,
    tracker_problems,
    type_problems,
)
from gan_cli.config.compose import compose
from gan_cli.config.environment import as_typed
from gan_cli.config.hints import explain
from gan_cli.config.nodes import Config, leaves
from gan_cli.config.overrides import key_of, placed, quoted
from gan_cli.config.plain import missing, resolved, unknown
from gan_cli.errors import UserError, one_line

OPTIONS: dict[str, Any] = {  # of this process, not of the experiment
    "device": str,
    "rank_timeout": float,
    "run_dir": str | None,
    "outputs": str,
    "resume": str | None,
    "init_from": str | None,
    "pause_at": int | None,
    "estimate": typing.Literal[True, False, "measured"],
    "trust": str | list[str],
    "tracker": dict[str, Any],
}
RESUMED = (  # given with resume
    *("resume", "steps", "pause_at", "device", "rank_timeout", "trust"),
    *("dataset.root", "dataset.download", "tracker"),
)
RESUMING: dict[str, Any] = {
    "resume": str,
    "steps": int | None,
    "pause_at": int | None,
    "device": str,
    "rank_timeout": float,
    "trust": list[str],
    "dataset": dict[str, str | bool | None],
    "tracker": dict[str, Any] | None,
}
EVALUATION: dict[str, Any] = {
    "self_check": bool,
    "checkpoint": str | None,
    "images": str | None,
    "reference": str | None,
    "which": typing.Literal["latest", "best"],
    "ema": float | None,
    "num_eval_images": int | None,
    "evaluation_seed": int | None,
    "num_evaluation_seeds": int | None,
    "dataset": dict[str, Any],
    "metrics": dict[str, Any],
    "latent_sampler": dict[str, Any] | None,
    "attack": dict[str, Any] | None,
    "outputs": str,
    "out": str | None,
    "device": str,
    "rank_timeout": float,
    "trust": list[str],
}
SAMPLING: dict[str, Any] = {
    "checkpoint": str,
    "which": typing.Literal["latest", "best"],
    "ema": float | None,
    "num_images": int | None,
    "seed": int,
    "latents": typing.Literal["random", "interpolate", "grid"],
    "labels": int | str | None,
    "dataset": dict[str, str | None],
    "latent_sampler": dict[str, Any] | None,
    "outputs": str,
    "out": str | None,
    "device": str,
    "trust": list[str],
}
OF_A_CHECKPOINT = (
    "which",
    "ema",
    "num_eval_images",
    "evaluation_seed",
    "num_evaluation_seeds",
    "latent_sampler",
    "attack",
    "trust",
)
OF_IMAGES = ("reference", "metrics")


def config_of(overrides: Sequence[str] = (), folder: Path | None = None) -> Config:
    """The checked config that gan-train trains with these overrides, such as `objective=hinge`; it has no device.

    Choices in `folder` are found, too, as with --config-dir. Raises UserError that names what is wrong.
    """
    try:
        composed = compose("train", placed(overrides), [] if folder is None else [folder])
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(explain(error, "train")) from error
    return read_config(composed)[0]


def read_config(composed: DictConfig) -> tuple[Config, dict[str, Any]]:
    """The experiment's own config as plain resolved data, and the options of this process.

    Text that is read from the environment stays as it was typed, `${oc.env:NAME}`; it is read when a part is built.

    Raises UserError that names every unknown key, wrong type and value out of range at once.
    """
    read = {*BASES, *OPTIONS, *SETTINGS, "engine"} | interpolated_keys(composed)
    problems = [replaced(key, composed) or unknown(key, read) for key in composed if str(key) not in read]
    try:
        config: Config = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise UserError(f"{key} needs a value: add {key}=<value>" if key else one_line(error)) from error
    experiment = {key: value for key, value in config.items() if key not in OPTIONS}
    problems += missing(config, [*OPTIONS, "engine"]) + type_problems(config, OPTIONS) + config_problems(experiment)
    problems += tracker_problems(config["tracker"]) if "tracker" in config else []
    if problems:
        raise UserError("; ".join(problems))
    trackers = as_typed(composed, {"tracker": config["tracker"]})
    return as_typed(composed, experiment), {key: config[key] for key in OPTIONS} | trackers


def read_resuming(composed: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The options of gan-train with `resume`; `dataset` says where the data is now, and whether to download it.

    `steps` is None unless it is given: then the run goes on to as many. `tracker` is None unless it is given: the run
    then has the trackers that it had.

    Raises UserError for any other override: the run's config is in its folder.
    """
    others = [o for o in overrides if key_of(o) not in RESUMED and not key_of(o).startswith("tracker.")]
    if others:
        raise UserError(f"resume continues a run as it was started: remove {' '.join(others)}")
    options = resolved(OmegaConf.masked_copy(composed, [key for key in RESUMING if key != "dataset"]), "")
    given = {key_of(override) for override in overrides}
    if "steps" not in given:
        options["steps"] = None
    if any(key.split(".")[0] == "tracker" for key in given):
        options |= as_typed(composed, {"tracker": options["tracker"]})
    else:
        options["tracker"] = None
    place = {key: OmegaConf.select(composed, f"dataset.{key}") for key in ("root", "download")}
    options["dataset"] = {key: value if f"dataset.{key}" in given else None for key, value in place.items()}
    problems = type_problems(options, RESUMING)
    problems += tracker_problems(options["tracker"]) if options["tracker"] is not None else []
    if problems:
        raise UserError("; ".join(problems))
    return options


def read_evaluation(composed: DictConfig, overrides: list[str], sampler: str | None) -> dict[str, Any]:
    """The options of gan-eval: of the check of itself, of a checkpoint, or of images, with `dataset` as a whole node.

    Raises UserError that names what is wrong.
    """
    given = [key for key in ("self_check", "checkpoint", "images") if composed.get(key)]
    if not given:
        question = "which run? give its folder: checkpoint=outputs/<run>"
        raise UserError(f"{question}; or images to score: images=<folder> dataset=<choice>")
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other: give one of them")
    apart = OF_A_CHECKPOINT if composed.images else OF_IMAGES
    others = [override for override in overrides if re.split(r"[.@]", key_of(override))[0] in apart]
    if not composed.images and "_target_" in composed.dataset:
        others.append("dataset=, which is the checkpoint's own")
    if others:
        raise UserError(f"{given[0]}= takes no {', '.join(others)}: remove it")
    if composed.images:
        return read_images(composed, overrides)
    options = read_options(composed, EVALUATION, overrides, sampler)
    return options | {"attacks": [] if options["attack"] is None else read_attacks(options["attack"], sampler)}


def read_attacks(node: Config, sampler: str | None) -> list[Config]:
    """The chosen attack once for each of its epsilons, in increasing order; raises UserError for what is wrong."""
    if sampler is not None:
        raise UserError("attack= attacks images of the run's own latent sampler: remove latent_sampler=")
    given = node.get("epsilon")
    several = [float(each) if type(each) is int else each for each in (given if isinstance(given, list) else [given])]
    nodes = [node | {"epsilon": epsilon} for epsilon in several]
    problems = [problem for each in nodes for problem in part_problems({"attack": each})]
    if not nodes:
        problems.append("attack.epsilon=[] is empty: give a number, or several as attack.epsilon=[0.05,0.1]")
    if problems:
        raise UserError("; ".join(dict.fromkeys(problems)))
    return sorted(nodes, key=lambda each: float(each["epsilon"]))


def read_images(composed: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """The options of gan-eval with images; a reference is a data set, but for the size of its images."""
    lacking = [key for key in sorted(OmegaConf.missing_keys(composed)) if not key.startswith("latent_sampler")]
    if lacking:
        raise UserError("; ".join(f"{key} needs a value: add {key}=<value>" for key in lacking))
    options = resolved(composed, "")
    options |= {key: options.get(key) for key in ("latent_sampler", "attack")}
    problems = [unknown(key, EVALUATION) for key in options if key not in EVALUATION]
    problems += missing(options, EVALUATION) + type_problems(options, EVALUATION)
    if problems:
        raise UserError("; ".join(problems))
    dataset = {key: value for key, value in options["dataset"].items() if (key, value) != ("root", None)}
    reference, chosen = options["reference"], "_target_" in dataset
    if chosen == (reference is not None):
        raise UserError(
            "images are scored against real ones: give dataset=<choice> or reference=<folder>, and not both"
        )
    if reference is not None:
        if dataset:
            raise UserError(f"reference={reference} is a data set of its own: remove dataset.{next(iter(dataset))}")
        dataset = config_of(["dataset=image_folder", f"dataset.root={quoted(reference)}"])["dataset"]
        dataset |= {"metrics": options["metrics"]}
    elif named := [override for override in overrides if re.split(r"[.]", key_of(override))[0] == "metrics"]:
        raise UserError(f"{named[0]} goes with reference=; a data set has its own: metrics@dataset.metrics=<choice>")
    problems = part_problems({"dataset": dataset})
    if problems:
        raise UserError("; ".join(problems))
    return options | {"dataset": dataset}


def read_options(
    composed: DictConfig, hints: Mapping[str, Any], overrides: list[str], sampler: str | None
) -> dict[str, Any]:
    """The options of gan-eval or gan-sample, with the chosen `sampler`'s node; its prior comes from the checkpoint.

    Raises UserError that names every problem at once.
    """
    theirs = [override for override in overrides if re.split(r"[.]", key_of(override))[-1] == "latent_dim"]
    if theirs:
        raise UserError(f"{', '.join(theirs)} is the checkpoint's own: remove it")
    composed = composed.copy()
    OmegaConf.update(composed, "latent_dim", 1, force_add=True)  # what priors refer to; they are never built
    options = resolved(composed, "which run? give its folder: checkpoint=outputs/<run>")
    del options["latent_dim"]
    options |= {group: options.get(group) for group in ("latent_sampler", "attack") if group in hints}
    if options["latent_sampler"] is not None and sampler is None:
        raise UserError("a latent sampler is chosen first: latent_sampler=<choice>, and its settings after it")
    problems = [unknown(key, hints) for key in options if key not in hints]
    problems += missing(options, hints) + type_problems(options, hints)
    lowest = {"num_images": 1, "num_eval_images": 1, "seed": 0, "evaluation_seed": 0, "num_evaluation_seeds": 1}
    problems += [
        f"{key}={options[key]} must be at least {least}"
        for key, least in lowest.items()
        if isinstance(options.get(key), int) and options[key] < least
    ]
    if isinstance(options.get("dataset"), dict):
        problems += [unknown(f"dataset.{key}", ["dataset.root"]) for key in options["dataset"] if key != "root"]
        problems += type_problems(options["dataset"], {"root": str | None}, "dataset.")
    if options["latent_sampler"] is not None and not problems:
        problems += sampler_problems(options["latent_sampler"], overrides)
    if problems:
        raise UserError("; ".join(problems))
    return options | {"sampler_name": sampler}


def sampler_problems(node: Config, overrides: list[str]) -> list[str]:
    """Problems of a sampler that is to refine a checkpoint's prior; no override may set the prior."""
    path, below = "latent_sampler", node
    while "prior" in below:
        path, below = f"{path}.prior", below["prior"]
        if not isinstance(below, dict):
            return ["latent_sampler.prior must be left alone: it is the checkpoint's own"]
    if path != "latent_sampler":
        for override in overrides:
            if re.fullmatch(rf"(latent_sampler@)?{re.escape(path)}(\..*)?", key_of(override)):
                return [f"{override}: the prior is the checkpoint's own: remove it"]
    return part_problems({"latent_sampler": node})


def interpolated_keys(composed: DictConfig) -> set[str]:
    """Root keys that another value refers to: a choice introduces them, as realness introduces num_outcomes."""
    text = OmegaConf.to_yaml(composed, resolve=False)
    return set(re.findall(r"\$\{(\w+)", text))


def replaced(key: Any, composed: DictConfig) -> str:
    """The problem of a root key that is no longer read, as num_outcomes after objective.num_outcomes=7; else empty."""
    paths = [path for path, _ in leaves(OmegaConf.to_container(composed)) if path.endswith(f".{key}")]
    return f"nothing reads {key} any more: give {key}=<value> in place of {paths[0]}" if paths else ""
