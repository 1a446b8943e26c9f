"""What sweep.json and logs/<job>.json hold, as types: files from elsewhere are data, and are checked."""

import re
from typing import Annotated, NotRequired

from annotated_types import Predicate
from typing_extensions import TypedDict

from gan_cli.runs.formats import RunConfig

MOST_BYTES = 200_000_000  # of sweep.json: about 60,000 jobs


class Ending(TypedDict):
    """How a job's process ended, and why if it did not end well."""

    exit_code: int | None
    error: str
    stopped: NotRequired[int]  # the step of the rung at which a race has stopped it


class Entry(TypedDict):
    """A job; version 0.1.0 also kept its ending here."""

    overrides: list[str]
    config: RunConfig
    exit_code: NotRequired[int | None]
    error: NotRequired[str]
    published: NotRequired[dict[str, float]]  # scores by metric that others report for this setting
    source: NotRequired[str]  # where they do


class Picture(TypedDict):
    """A study's picture: the last score of each run against the setting `x`."""

    x: str
    y: NotRequired[str | None]
    lines: NotRequired[str]
    title: NotRequired[str]
    xlabel: NotRequired[str]
    categories: NotRequired[bool]
    intervals: NotRequired[bool]
    logarithmic: NotRequired[bool]


class Kind(TypedDict):
    settings: list[str]
    swept: list[str]


def is_dotted(name: str) -> bool:
    """Whether it may name a function: package.module.function."""
    return re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", name, re.ASCII) is not None


def is_folder_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,250}", name) is not None


class Content(TypedDict):
    """sweep.json: what the sweep's commands have in common, and its jobs by the names of their folders.

    `picture` may be the name of the user's own function, and `command` is the last command line, word by word.
    """

    jobs: dict[Annotated[str, Predicate(is_folder_name)], Entry]
    kind: NotRequired[Kind]
    picture: NotRequired[Picture | Annotated[str, Predicate(is_dotted)] | None]
    baseline: NotRequired[str | None]
    command: NotRequired[list[str]]
