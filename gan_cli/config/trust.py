"""Checks a config from a file: it may only name parts of this package, or of one that the user trusts."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer

from gan_cli.config.check import BASES, SETTINGS, bases_of, config_problems, find_class, find_function
from gan_cli.config.compose import CONF
from gan_cli.config.environment import interpolates_more
from gan_cli.config.limits import limit_problems
from gan_cli.config.nodes import Config, targets
from gan_cli.errors import UserError
from gan_cli.text import printable


def check_config(config: Config, trust: list[str], *, ours: bool) -> None:
    """Refuses a config from a file unless it is one that this program could have written; nothing is built.

    `ours` says that this user has started the run: only then may a value be read from the environment, and may choices
    of the user's own have added keys at the root.
    """
    problems = limit_problems(config) + ([] if ours else surplus(config))
    text = json.dumps(config)
    if interpolates_more(text) if ours else "${" in text:
        problems.append("it holds an interpolation, which is not resolved for a file")
    if not problems:
        check_trust(config, trust)
        problems = config_problems(config)
    if problems:
        raise UserError(printable("; ".join(problems)))


def surplus(config: Config) -> list[str]:
    """Keys at the root that no part, no setting and no interpolation of conf/ reads."""
    texts = (file.read_text(encoding="utf-8") for file in CONF.rglob("*.yaml"))
    known = {
        *BASES,
        *SETTINGS,
        "engine",
        "init_from",
        *(key for text in texts for key in re.findall(r"\$\{(\w+)\}", text)),
    }
    return [f"unknown key '{printable(key, 60)}': nothing reads it" for key in config if key not in known]


def check_trust(config: Config, trust: list[str]) -> None:
    """Refuses a config that names classes of other packages than this one, torch.optim, and the trusted ones.

    Each class has to be a subclass of its group's base class, and be defined in the named package. Nothing is imported
    or called before its package is known to be trusted.
    """
    packages = {"gan_cli", *trust}
    for path, node in targets(config):
        name = node["_target_"]
        optimizer = bases_of(path) == (Optimizer,)
        if not isinstance(name, str) or not name.startswith((*(f"{package}." for package in packages), "torch.optim.")):
            package, shown = printable(str(name).split(".")[0], 60), printable(f"{path}._target_={name}", 200)
            if package in sys.stdlib_module_names or not package.isidentifier():
                raise UserError(f"its {shown} is outside gan_cli, and no part of a run")
            raise UserError(
                f"its {shown} is outside gan_cli: if {package} is a package that you know, trust={package} allows it"
            )
        try:
            target = find_class(path, name)
        except UserError as error:
            known = ", ".join(known_targets(bases_of(path)))
            raise UserError(f"its {printable(error, 300)}; known: {known}") from error
        if target.__module__.split(".")[0] not in packages | ({"torch"} if optimizer else set()):
            raise UserError(f"its {path}._target_={printable(name, 200)} is not defined in {name.split('.')[0]}")


def trusted_function(key: str, name: str, trust: Sequence[str]) -> Callable[..., Any]:
    """The function that a file names at `key`; raises UserError unless it is defined in a trusted package.

    Nothing is imported before.
    """
    package, shown = printable(name.split(".")[0], 60), printable(name, 200)
    if package not in trust:
        raise UserError(f"{key}: {shown} is code: if {package} is a package that you know, trust={package} allows it")
    function = find_function(key, name)
    if str(getattr(function, "__module__", "")).split(".")[0] not in trust:
        raise UserError(f"{key}: {shown} is not defined in {package}")
    return function


def known_targets(bases: tuple[type, ...]) -> list[str]:
    """The classes of this package with these bases that a config can name."""
    known = {leaf for base in bases for leaf in leaves_of(base) if leaf.__module__.startswith("gan_cli.")}
    return sorted(f"{leaf.__module__}.{leaf.__qualname__}" for leaf in known if not leaf.__name__.startswith("Fitted"))


def leaves_of(base: type) -> set[type]:
    children: list[type] = base.__subclasses__()
    return {leaf for child in children for leaf in leaves_of(child)} or {base}


def placed(config: Config, *, ours: bool, root: str | None, download: bool) -> Config:
    """The config with its data where the user says it is, and without a download unless the user asks for it.

    A config from elsewhere must not choose which files are read: for data with a root, that has to be given. Nothing in
    the config has been checked yet.
    """
    if not isinstance(config.get("dataset"), dict):
        return config
    dataset: dict[str, Any] = dict(config["dataset"])
    if root is not None and "root" not in dataset:
        raise UserError("its data set has no root: remove dataset.root")
    if not ours and root is None and "root" in dataset:
        raise UserError("it was not started by you here, so its paths are not believed: add dataset.root=<folder>")
    inside = dataset.get("subfolder")
    if not ours and inside is not None and (".." in str(inside).split("/") or str(inside).startswith("/")):
        raise UserError("its dataset.subfolder leads out of dataset.root")
    if root is not None:
        dataset["root"] = root
    if "download" in dataset:
        dataset["download"] = download
    metrics = dataset.get("metrics")
    if not ours and isinstance(metrics, dict):
        dataset["metrics"] = {
            name: [without_path(each) for each in part] if isinstance(part, list) else without_path(part)
            for name, part in metrics.items()
        }
    return config | {"dataset": dataset}


def without_path(part: Any) -> Any:
    """An extractor whose weights are found by their hash, not by a path; other parts do not change."""
    return part | {"weights": None} if isinstance(part, dict) and "weights" in part else part
