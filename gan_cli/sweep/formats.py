"""What sweep.json and logs/<job>.json hold, as types: files from elsewhere are data, and are checked."""

import re
from typing import Annotated, Literal, NotRequired

from annotated_types import Len, Predicate
from typing_extensions import TypedDict

from gan_cli.runs.formats import RunConfig

MOST_BYTES = 200_000_000  # of sweep.json: about 60,000 jobs


Word = Literal["shown", "not shown", "contradicted"]
Setting = str | int | float | bool


class Ending(TypedDict):
    """How a job's process ended, and why if it did not end well."""

    exit_code: int | None
    error: str
    stopped: NotRequired[int]  # the step of the rung at which a race has stopped it


class Tuned(TypedDict):
    """What a table says of a job with tuned learning rates, the method's own times `factor`.

    It was chosen of `factors` by these `seeds`, in as many `steps`; `untuned` has the overrides of the method itself.
    """

    factor: float
    untuned: list[str]
    factors: list[float]
    seeds: list[int]
    steps: int


class Entry(TypedDict):
    """A job; version 0.1.0 also kept its ending here."""

    overrides: list[str]
    config: RunConfig
    exit_code: NotRequired[int | None]
    error: NotRequired[str]
    published: NotRequired[dict[str, float]]  # scores by metric that others report for this setting
    source: NotRequired[str]  # where they do
    tuned: NotRequired[Tuned]


class Picture(TypedDict):
    """A study's picture: the last score of each run against the setting `x`."""

    x: str
    y: NotRequired[str | None]
    lines: NotRequired[str | list[str]]
    where: NotRequired[dict[str, Setting | list[Setting]]]  # the runs that are drawn; without it, all
    title: NotRequired[str]
    xlabel: NotRequired[str]
    categories: NotRequired[bool]
    intervals: NotRequired[bool]
    logarithmic: NotRequired[bool]


class Rule(TypedDict):
    """How a number of the finished runs is judged; docs/claims.md says what each kind reads."""

    rule: Literal["value", "difference", "trend", "interaction", "correlation"]
    says: str
    reading: str
    expected: Literal["lower", "higher"] | Annotated[list[float], Len(2, 2)]
    where: NotRequired[dict[str, Setting | list[Setting]]]
    than: NotRequired[dict[str, Setting | list[Setting]]]  # of a difference: the other runs
    against: NotRequired[str]  # of a value: another number of the same run, which is subtracted
    along: NotRequired[str | list[str]]  # a setting, of an interaction two; of a correlation a player
    logarithmic: NotRequired[bool]
    each: NotRequired[dict[str, list[Setting]]]


class Claim(TypedDict):
    """What a study is to show, who says so, and how its runs are judged; `remarks` are sentences for the page."""

    says: str
    source: str
    rules: list[Rule]
    remarks: NotRequired[list[str]]


class PartOfOutcome(TypedDict):
    """What one rule found: gan_cli/leaderboard/claims.py."""

    says: str
    expected: str
    mean: float | None
    interval: Annotated[list[float], Len(2, 2)] | None
    n: int
    word: Word


class Outcome(TypedDict):
    """claim.json: what a sweep's runs say to its study's claim, and what they cost."""

    study: str
    says: str
    source: str
    remarks: list[str]
    command: list[str]
    verdict: Word
    parts: list[PartOfOutcome]
    runs: int
    lost: dict[str, int]
    seconds: float
    machines: list[str]
    ended: str
    versions: dict[str, str]


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

    `shares` says whether another sweep may take some of the jobs. `study` is the name of the study that was chosen, and
    `claim` what it is to show. `picture` may be the name of the user's own function, and `command` is the last command
    line, word by word.
    """

    jobs: dict[Annotated[str, Predicate(is_folder_name)], Entry]
    kind: NotRequired[Kind]
    shares: NotRequired[bool]
    picture: NotRequired[Picture | Annotated[str, Predicate(is_dotted)] | None]
    claim: NotRequired[Claim | None]
    study: NotRequired[str | None]
    baseline: NotRequired[str | None]
    margin: NotRequired[float | None]
    paired: NotRequired[bool | None]
    command: NotRequired[list[str]]
