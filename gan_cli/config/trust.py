"""Checks a config from a file: it may only name parts of this package, or of one that the user trusts."""

import json

import torch
from torch.optim import Optimizer

from gan_cli.config.build import build_gan, build_imposed
from gan_cli.config.check import bases_of, find_class
from gan_cli.config.nodes import Config, leaves, targets
from gan_cli.engine import Engine
from gan_cli.errors import UserError


def check_trust(config: Config, trust: list[str]) -> None:
    """Refuses a config from a file unless it only names classes of this package, torch.optim or a trusted package.

    Each class has to be a subclass of its group's base class, and be defined in the named package. Nothing is imported
    or called before its package is known to be trusted, and no value is interpolated.
    """
    packages = {"gan_cli", *trust}
    if "${" in json.dumps(config):
        paths = [path for path, value in leaves(config) if "${" in str(value)]
        raise UserError(f"the config of the checkpoint holds an interpolation ({', '.join(paths) or 'in a key'})")
    for path, node in targets(config):
        name = node["_target_"]
        optimizer = bases_of(path) == (Optimizer,)
        if not isinstance(name, str) or not name.startswith((*(f"{package}." for package in packages), "torch.optim.")):
            package = str(name).split(".")[0]
            raise UserError(
                f"the checkpoint's {path}._target_={name} is outside gan_cli: add trust=[{package}] to allow it"
            )
        try:
            target = find_class(path, name)
        except UserError as error:
            raise UserError(f"the checkpoint's {error}; known: {', '.join(known_targets(bases_of(path)))}") from error
        if target.__module__.split(".")[0] not in packages | ({"torch"} if optimizer else set()):
            raise UserError(f"the checkpoint's {path}._target_={name} is not defined in {name.split('.')[0]}")


def known_targets(bases: tuple[type, ...]) -> list[str]:
    """The classes of this package with these bases that a config can name."""
    known = {leaf for base in bases for leaf in leaves_of(base) if leaf.__module__.startswith("gan_cli.")}
    return sorted(f"{leaf.__module__}.{leaf.__qualname__}" for leaf in known if not leaf.__name__.startswith("Fitted"))


def leaves_of(base: type) -> set[type]:
    children: list[type] = base.__subclasses__()
    return {leaf for child in children for leaf in leaves_of(child)} or {base}


def check_size(config: Config, image_shape: tuple[int, int, int], num_bytes: int) -> None:
    """Refuses a config with more weights than `num_bytes` can hold; no weight is allocated."""
    engine = Engine(torch.device("meta"))
    with engine.device:
        sketch = build_gan(config, image_shape, engine, build_imposed(config, engine)).game
    weights = sum(p.numel() for network in (sketch.generator, sketch.discriminator) for p in network.parameters())
    if weights > num_bytes:
        raise UserError(
            f"the checkpoint's config is refused: it asks for {weights:,} weights, which the file does not hold"
        )
