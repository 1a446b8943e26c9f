"""Overrides as text, `key=value`, as on a command line and in a run's summary."""

import os
import re

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from gan_cli.config.compose import CONF
from gan_cli.config.hints import config_folders
from gan_cli.config.nodes import flatten


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


def label(override: str) -> str:
    """The choice alone for a group (`objective=hinge`: hinge), else the last part of the key and the value."""
    key = key_of(override)
    if override.startswith("~"):
        return override
    if os.path.isdir(CONF / key):
        return value_of(override)
    return f"{re.split(r'[.@]', key)[-1]}={value_of(override)}"


def quoted(value: object) -> str:
    """Any value, quoted for the override grammar."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), str(value))
    return f"'{escaped}'"
