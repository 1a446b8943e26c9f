"""What a config that came from a file may name: parts of this package, or of one that the user trusts."""

from collections.abc import Iterator
from typing import Any

import torch
from hydra.utils import get_class
from torch.optim import Optimizer

from gan_cli.build import build_players
from gan_cli.checkpoint import STATE, Checkpoint
from gan_cli.config import BASES, SETTINGS, Config, node_problems, setting_problems, targets
from gan_cli.errors import UserError
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.metrics.extractor import Extractor
from gan_cli.metrics.metrics import Metrics

NESTED = (Metrics, Extractor, LatentSampler)  # what a part may itself be made of


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
