"""A config as plain data: walks over its nodes and values."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

Config = dict[str, Any]
PLACES = {  # of files on a machine: digests in the protocol say what they hold
    "dataset.root",
    "dataset.subfolder",
    "dataset.download",
    "dataset.verify",
    "dataset.metrics.extractor.weights",
}
# Settings that came later than runs did, at the value that changes nothing: a run from before is of the same config.
LATER: Config = {"ema_snapshots_every": 0, "accumulate": 1, "engine": {"sync_batch_norm": False}}


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is not a container, with its dotted path."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    elif isinstance(config, list):
        for value in config:
            yield from leaves(value, path)
    else:
        yield path, config


def flatten(node: Any, path: str = "") -> dict[str, Any]:
    """Every value that is not a mapping, by its dotted path."""
    return dict(branches(node, path))


def without(node: Config, keys: Collection[str], path: str = "") -> Config:
    """The config without the values at these dotted paths."""
    return {
        key: without(value, keys, f"{path}{key}.") if isinstance(value, dict) else value
        for key, value in node.items()
        if f"{path}{key}" not in keys
    }


def branches(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict):
        yield path, node
        return
    for key, value in node.items():
        inner = f"{path}.{key}" if path else str(key).lstrip(".")
        if isinstance(value, dict):
            yield from branches(value, inner)
        else:
            yield inner, value


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


def is_node(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


def on_prior(node: Config, prior: Config, latent_dim: int) -> Config:
    """A latent sampler's node, with the prior of the node `prior` under all its refinements; a prior gets its width."""
    while "prior" in prior:
        prior = prior["prior"]
    if "prior" in node:
        inner = node["prior"]
        return node | {"prior": on_prior(inner, prior, latent_dim) if "prior" in inner else prior}
    return node | ({"latent_dim": latent_dim} if "latent_dim" in node else {})


def as_before(config: Mapping[str, Any], later: Mapping[str, Any] = LATER) -> Config:
    """The config without settings that came later and change nothing: by it runs of all versions are told apart."""
    return {
        key: as_before(value, later[key]) if isinstance(value, dict) and isinstance(later.get(key), dict) else value
        for key, value in config.items()
        if key not in later or value != later[key]
    }


def difference(old: Config, new: Config) -> str:
    """Every value that differs, as key: old -> new."""
    before, after = flatten(old), flatten(new)
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    return "; ".join(f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}" for key in changed)
