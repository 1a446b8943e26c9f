"""Overrides as text, `key=value`, as on a command line and in a run's summary."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from gan_cli.config.compose import CONF
from gan_cli.config.hints import config_folders
from gan_cli.config.nodes import flatten

PLAYER = re.compile("generator|discriminator")
OPTIMIZER = re.compile(r"(?:generator|discriminator)_optimizer=(?!null\b)[A-Za-z_][\w,]*")


def placed(words: Iterable[str]) -> list[str]:
    """The command line with `generator_optimizer=rmsprop` as Hydra wants it: with the group before the place."""
    return [f"optimizer@{word}" if OPTIMIZER.fullmatch(word) else word for word in words]


def key_of(override: str | Override) -> str:
    text = override.get_key_element() if isinstance(override, Override) else override.partition("=")[0]
    return text.lstrip("+~")


def value_of(override: str) -> str:
    return override.partition("=")[2]


def choices(override: Override) -> list[str]:
    """The override once for each value that it sweeps; empty for a range, which needs a search."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    if not override.is_discrete_sweep():
        return []
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def set_by_debug(override: str) -> set[str]:
    """The keys that a choice of the debug group sets, which only the command line overrides; else empty."""
    if key_of(override) != "debug":
        return set()
    files = [folder / "debug" / f"{value_of(override)}.yaml" for folder in config_folders()]
    presets = [OmegaConf.to_container(OmegaConf.load(file)) for file in files if file.is_file()]
    return {key for preset in presets for key in flatten(preset)}


def labels(overrides: Iterable[str]) -> dict[str, str]:
    """What tells each override from the others: `objective=hinge` is hinge, `generator_optimizer.lr=1` itself.

    A choice stands alone unless another group has the same one; a key begins with its player, if it has one, and is as
    short as it can be without being the name of another key here or of a setting of the run.
    """
    given = list(dict.fromkeys(overrides))
    names = short_keys(key_of(override) for override in given)
    chosen = Counter(value for value, _ in {(value_of(one), key_of(one)) for one in given if is_choice(one)})
    return {one: label(one, names[key_of(one)], alone=chosen[value_of(one)] == 1) for one in given}


def label(override: str, name: str, *, alone: bool) -> str:
    if override.startswith("~"):
        return override
    return value_of(override) if is_choice(override) and alone else f"{name}={value_of(override)}"


def is_choice(override: str) -> bool:
    return os.path.isdir(CONF / key_of(override))


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Each key's shortest ending that keeps its player and is neither another key's ending nor a run's setting."""
    endings = {key: [key[match.end() :] for match in re.finditer(r"^|[.@]", key)] for key in keys}
    count = Counter(ending for found in endings.values() for ending in found)
    return {
        key: next(
            (end for end in reversed(players_kept(found)) if count[end] == 1 and end not in root_keys()), found[0]
        )
        for key, found in endings.items()
    }


def players_kept(endings: list[str]) -> list[str]:
    """The endings of a key, the longest first, that begin before or at the last part which names a player."""
    named = [number for number, ending in enumerate(endings) if PLAYER.match(re.split(r"[.@]", ending)[0])]
    return endings[: named[-1] + 1] if named else endings


@cache
def root_keys() -> frozenset[str]:
    """The keys of a run's own settings."""
    return frozenset(map(str, OmegaConf.load(CONF / "train.yaml")))


def quoted(value: object) -> str:
    """Any value, quoted for the override grammar."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), str(value))
    return f"'{escaped}'"
