"""Hydra's errors in one line, with the probable correction; without torch, so that the answer is fast."""

import difflib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from gan_cli.config.compose import CONF, compose

PLUGINS = ("joblib", "optuna")  # launchers and sweepers that are extras of this package
MOST_NAMED = 3
PRESETS = ("experiment", "debug")  # they set keys that exist without them


def explain(error: Exception, config_name: str) -> str:
    """Hydra's error about an override in one line, with the probable correction."""
    text = str(error)
    if isinstance(error, OverrideParseException) or " expecting " in text:
        return unreadable(error)
    if choice := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        group, wanted = choice[1].removeprefix(f"{config_name}/"), choice[2]
        known = choices_of(group)
        plugin = next((name for name in PLUGINS if group.startswith("hydra/") and wanted.startswith(name)), "")
        hint = f": pip install 'gan-cli[{plugin}]' brings it" if plugin else closest(wanted, known)
        own = "" if group.startswith("hydra/") else f" (known: {', '.join(known)})"  # Hydra's are its plugins', too
        return f"unknown {group} '{wanted}'{hint}{own}"
    if "Could not override ''" in text:
        return "a key is missing before '=': write key=value"
    if key := refused_key(error):
        group = key.split(".")[0]
        if group != key and (CONF / group).is_dir() and not any(k.startswith(group) for k in known_keys(config_name)):
            return f"'{key}' needs a choice first: add {group}=<choice>"
        if "@" in key:
            return no_place(key, config_name)
        if places := [place for place in chosen(config_name) if place.startswith(f"{key}@")]:
            shown = [place.removeprefix("optimizer@") for place in places]  # as overrides.placed takes it
            return f"'{key}' is chosen for a place: give {' or '.join(f'{place}=<choice>' for place in shown)}"
        hint = introduced_by(key) if config_name in ("train", "sweep") else ""
        return f"unknown key '{key}'{hint or inside_null(key, config_name) or closest(key, known_keys(config_name))}"
    if "override must be a string" in text:
        return "a choice is missing: give group=choice, or leave the group out"
    if twice := re.search(r"(\S+) appears more than once", text):
        return f"{twice[1].split('@')[0]} takes one choice, not a list"
    text = text.split("Config search path")[0]
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return " ".join(f"{text}{cause}".split())


def no_place(key: str, config_name: str) -> str:
    """The problem of a choice for a place, as metrics@dataset.metrics, that the chosen dataset= does not have."""
    chosen_now = OmegaConf.select(composed_choices(config_name), "hydra.runtime.choices") or {}
    if close := difflib.get_close_matches(key, [str(place) for place in chosen_now if "@" in str(place)], n=1):
        return f"unknown key '{key}': did you mean {close[0]}?"
    (group, _, place), choices = key.partition("@"), {str(name): choice for name, choice in chosen_now.items()}
    holder, _, name = place.rpartition(".")
    if holder not in choices:
        return f"unknown key '{key}': see --help"
    own = any((folder / holder / f"{choices[holder]}.yaml").is_file() for folder in config_folders()[1:])
    remedy = f"add - /{group}@{name}: <choice> to the defaults of its YAML" if own else f"choose another {holder}"
    return f"{holder}={choices[holder]} has no place for {key}: {remedy}"


def unreadable(error: Exception) -> str:
    """The problem of an override that Hydra cannot parse; not all of its errors name it."""
    words = [error.override] if isinstance(error, OverrideParseException) else sys.argv[1:]
    parser = OverridesParser.create()
    for word in words:
        try:
            parser.parse_override(word)
        except HydraException as refusal:
            reason = str(getattr(refusal, "message", refusal)).splitlines()[0].partition(" expecting ")[0]
            return f"cannot read '{word}': write key=value, and odd values as key='\"a=b\"' ({reason})"
    return str(error)


def choices_of(place: str) -> list[str]:
    """Every choice of a group, or of a group with its place, as group@place."""
    group = place.partition("@")[0]
    return sorted({path.stem for folder in config_folders() for path in (folder / group).glob("*.yaml")})


def refused_key(error: Exception) -> str:
    """The key that the composed config does not have; empty for other errors."""
    found = re.search(r"Could not override '([^']+)'", str(error))
    return found[1] if found else ""


def config_folders() -> list[Path]:
    """This package's folder, and the one given as --config-dir."""
    arguments = [part for argument in sys.argv[1:] for part in argument.split("=", 1)]
    flags = zip(arguments, arguments[1:], strict=False)
    return [CONF, *(Path(value).absolute() for flag, value in flags if flag in ("--config-dir", "-cd"))]


def closest(word: str, known: Sequence[str]) -> str:
    close = matches(word, known)
    return f": did you mean {' or '.join(close)}?" if close else ": see --help"


def matches(word: str, known: Sequence[str]) -> list[str]:
    """The nearest known words, compared whole and then by their last part; all that end in this word."""
    if word in known:
        return [word]
    by_ending: dict[str, list[str]] = {}
    for key in known:
        by_ending.setdefault(key.rsplit(".", 1)[-1], []).append(key)
    ending = word.rsplit(".", 1)[-1]
    if word == ending and 0 < len(by_ending.get(word, [])) <= MOST_NAMED:
        return by_ending[word]
    return difflib.get_close_matches(word, known, n=1) or [
        by_ending[one][0] for one in difflib.get_close_matches(ending, by_ending, n=1)
    ]


def introduced_by(key: str) -> str:
    """The choice that introduces this root key, as objective=realness introduces num_outcomes."""
    for path in sorted(CONF.glob("*/*.yaml")):
        if path.parent.name in PRESETS or "@package _global_" not in path.read_text():
            continue
        if key in OmegaConf.load(path):
            return f": it comes with {path.parent.name}={path.stem}"
    return ""


def inside_null(key: str, config_name: str) -> str:
    """That the key lies inside one that is null, as objective=drifting has no model.discriminator."""
    composed, (outer, _, _) = composed_choices(config_name), key.rpartition(".")
    parent, _, name = outer.rpartition(".")
    holder = OmegaConf.select(composed, parent) if parent else composed
    return f": {outer} is null" if outer and name in (holder or {}) and holder[name] is None else ""


def known_keys(config_name: str) -> list[str]:
    """Every key of the config with the group choices of the command line, if these compose."""
    composed = OmegaConf.to_container(composed_choices(config_name))
    assert isinstance(composed, dict)
    composed.pop("hydra", None)
    return sorted(dotted(composed))


def chosen(config_name: str) -> list[str]:
    """What has a choice in that config: a group, or a group with its place, as group@place."""
    return list(OmegaConf.select(composed_choices(config_name), "hydra.runtime.choices") or {})


def completions(config_name: str, line: str) -> list[str]:
    """What may follow in this command line, of what Hydra does not know: choices for a place, and its short names.

    These are metrics@dataset.metrics=, whose group Hydra takes for a folder, and generator_optimizer=.
    """
    *words, word = line.split(" ")
    sys.argv[1:] = words[1:]
    key, equals, _ = word.partition("=")
    places = [place for place in chosen(config_name) if "@" in str(place)]
    short = {place: place.removeprefix("optimizer@") for place in places}  # as overrides.placed takes it
    if equals:
        named = [place for place in places if key in (place, short[place])]
        found = [f"{key}={choice}" for place in named for choice in choices_of(place)]
    else:
        found = [f"{name}=" for name in short.values()]
    return [one for one in found if one.startswith(word)]


def composed_choices(config_name: str) -> DictConfig:
    """The config with Hydra's own node, and with the command line's choices if they compose."""
    choices = []
    for argument in sys.argv[1:]:
        choice = re.fullmatch(r"([\w/]+)(@[\w.]+)?=[\w\[\],]+", argument)
        if choice and any((folder / choice[1]).is_dir() for folder in config_folders()):
            choices.append(argument)
    for overrides in (choices, [choice for choice in choices if "@" not in choice], []):
        try:
            return compose(config_name, overrides, config_folders()[1:], with_hydra=True)
        except Exception:  # the error is already known; this is only for the hint
            continue
    return DictConfig({})


def dotted(node: Any, path: str = "") -> list[str]:
    if not isinstance(node, dict):
        return []
    return [name for key, value in node.items() for name in (f"{path}{key}", *dotted(value, f"{path}{key}."))]
