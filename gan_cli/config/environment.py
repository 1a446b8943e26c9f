"""Values from the environment: a config that is stored holds what was typed, because the value may be a secret."""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gan_cli.config.check import SETTINGS
from gan_cli.config.nodes import Config

READS_ENVIRONMENT = re.compile(r"\$\{oc\.env:[^${}]*\}")
DECODES_TEXT = re.compile(r"\$\{oc\.decode:[^${}]*\}")
REFERENCE = re.compile(r"\$\{([\w.]+)\}")
MOST_REFERENCES = 20  # from one key to the next


def as_typed(composed: DictConfig, resolved: Config) -> Config:
    """The resolved config, but text that is read from the environment as it was typed, except in run settings."""
    raw = OmegaConf.to_container(composed)
    return {key: value if key in SETTINGS else typed(value, at(raw, key), raw) for key, value in resolved.items()}


def typed(value: Any, written: Any, raw: Any) -> Any:
    """The value, or the text that was written for it if that reads the environment."""
    if isinstance(written, str):
        text = expanded(written, raw)
        if isinstance(text, dict | list):
            return typed(value, text, raw)
        return text if isinstance(value, str) and READS_ENVIRONMENT.search(str(text)) else value
    if isinstance(value, dict) and isinstance(written, dict):
        return {key: value[key] if key == "_target_" else typed(value[key], at(written, key), raw) for key in value}
    if isinstance(value, list) and isinstance(written, list):
        return [typed(one, text, raw) for one, text in zip(value, written, strict=True)]
    return value


def expanded(text: str, raw: Any) -> Any:
    """The text with references to other keys replaced by what was written there."""
    for _ in range(MOST_REFERENCES):
        whole = REFERENCE.fullmatch(text)
        if whole and not isinstance(written := at(raw, whole[1]), str):
            return written
        replaced = REFERENCE.sub(lambda found: str(at(raw, found[1])), text)
        if replaced == text:
            break
        text = replaced
    return text


def interpolates_more(text: str) -> bool:
    """Whether anything in the text is interpolated besides the environment."""
    return "${" in DECODES_TEXT.sub("", READS_ENVIRONMENT.sub("", text))


def at(node: Any, path: str) -> Any:
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node
