"""Options that name no parts, and the words for what is wrong with a value; without torch, so that answers are fast."""

import difflib
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from beartype import BeartypeConf
from beartype.door import is_bearable
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from gan_cli.errors import UserError, one_line

WORDS = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Any: "anything",
}
EXPORTING: dict[str, Any] = {
    "checkpoint": str,
    "which": typing.Literal["latest", "best"],
    "ema": float | None,
    "dataset": dict[str, str | None],
    "outputs": str,
    "out": str | None,
    "trust": list[str],
}
REPORTING: dict[str, Any] = {
    "folders": list[str],
    "baseline": str | None,
    "margin": float | None,
    "paired": bool | None,
    "outputs": str,
    "out": str | None,
    "claims": str | None,
    "trust": list[str],
}
VERIFYING: dict[str, Any] = {
    "folder": str,
    "spot": int,
    "spot_steps": int,
    "full": bool,
    "seed": int | None,
    "dataset": dict[str, str | None],
    "init_from": str | None,
    "device": str,
    "trust": list[str],
}


def read_plain(composed: DictConfig, hints: Mapping[str, Any], question: str) -> dict[str, Any]:
    """Options that name no parts; raises UserError that names every problem, or asks for a missing value."""
    options = resolved(composed, question)
    problems = [unknown(key, hints) for key in options if key not in hints]
    problems += missing(options, hints) + plain_problems(options, hints)
    if problems:
        raise UserError("; ".join(problems))
    return options


def resolved(composed: DictConfig, question: str) -> dict[str, Any]:
    """Options as plain data; raises UserError with `question` if a value is missing."""
    try:
        options: dict[str, Any] = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except MissingMandatoryValue as error:
        raise UserError(question) from error
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from error
    if isinstance(options.get("trust"), str):
        options["trust"] = [options["trust"]]
    return options


def plain_problems(options: Mapping[str, Any], hints: Mapping[str, Any]) -> list[str]:
    """One line for each option that does not fit the type of its key."""
    problems = []
    for key, hint in hints.items():
        value = options.get(key)
        if value == "":
            problems.append(f"{key} is empty: give a value")
        elif key in options and not fits(value, hint):
            problems.append(wrong_type(key, value, hint))
    return problems


def fits(value: Any, hint: Any) -> bool:
    """Whether the value fits the hint, with all that it holds."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is list and isinstance(value, list):
        return all(fits(item, arguments[0]) for item in value)
    if origin is dict and isinstance(value, dict):
        return all(fits(item, arguments[1]) for item in value.values())
    return bearable(value, hint)


def wrong_type(key: str, value: Any, hint: Any) -> str:
    if typing.get_origin(hint) is list and isinstance(value, list):
        (item_hint,) = typing.get_args(hint)
        number, item = next((number, item) for number, item in enumerate(value) if not fits(item, item_hint))
        return wrong_type(f"{key}[{number}]", item, item_hint)
    if typing.get_origin(hint) is typing.Literal:
        return not_one_of(key, value, typing.get_args(hint))
    return f"{key}={'null' if value is None else value} must be {described(hint)}"


def not_one_of(key: str, value: Any, options: Iterable[Any], others: str = "") -> str:
    choices = [str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in options]
    return f"{key}={value} must be one of {', '.join(choices)}{others}" + did_you_mean(str(value), choices)


def bearable(value: Any, hint: Any) -> bool:
    bool_for_number = isinstance(value, bool) and (
        hint in (int, float, int | None, float | None)
        or (typing.get_origin(hint) is typing.Literal and bool not in map(type, typing.get_args(hint)))
    )
    return is_bearable(value, hint, conf=BeartypeConf(is_pep484_tower=True)) and not bool_for_number


def described(hint: Any) -> str:
    """A type in plain words, as "an integer or null"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in WORDS:
        return WORDS[hint]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(described, arguments))
    if origin in (list, Sequence):
        return f"a list (each item {described(arguments[0])})"
    if origin in (dict, Mapping):
        return f"a mapping (each value {described(arguments[1])})"
    name = getattr(hint, "__name__", str(hint))
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def missing(given: Collection[str], keys: Iterable[str]) -> list[str]:
    return [f"{key} is missing: add {key}=<value>" for key in keys if key not in given]


def unknown(key: Any, known: Iterable[str]) -> str:
    return f"unknown key '{key}'" + (did_you_mean(str(key), known) or ": nothing reads it")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]}?" if close else ""
