"""Overrides as text, `key=value`, as they stand on a command line and in a run's summary."""

import re

from hydra.core.override_parser.types import Override

from gan_cli.config.compose import CONF


def key_of(override: str | Override) -> str:
    text = override.get_key_element() if isinstance(override, Override) else override.partition("=")[0]
    return text.lstrip("+~")


def value_of(override: str) -> str:
    return override.partition("=")[2]


def choices(override: Override) -> list[str]:
    """The override once for each value that it sweeps; a range that only a search can go through has none."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    if not override.is_discrete_sweep():
        return []
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def label(override: str) -> str:
    """The choice alone where it says enough (`objective=hinge`: hinge), else the last part of the key and the value."""
    key = key_of(override)
    if override.startswith("~"):
        return override
    if (CONF / key).is_dir():
        return value_of(override)
    return f"{re.split(r'[.@]', key)[-1]}={value_of(override)}"


def quoted(value: object) -> str:
    """A value as the override grammar reads it back, whatever is in it."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), str(value))
    return f"'{escaped}'"
