"""What summary.json and a line of metrics.jsonl hold, as types: a file from elsewhere is data, and is checked."""

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Ge, Le, MaxLen
from pydantic import AfterValidator
from pydantic_core import from_json
from typing_extensions import TypedDict

from gan_cli.files import adapter, read_json
from gan_cli.text import printable

MOST = 10**18  # of a count
MOST_NAMES = 1000  # of metrics, settings or terms in one file or line
MOST_SESSIONS = 100_000  # of one run
MOST_LINE_BYTES = 1_000_000  # of a record

Text = Annotated[str, AfterValidator(printable)]
Count = Annotated[int, Ge(0), Le(MOST)]
Amount = Annotated[int | float, Ge(0), Le(MOST)]  # a finite number
Status = Literal["completed", "diverged", "collapsed", "failed", "interrupted"]
Scores = Annotated[dict[Text, float], MaxLen(MOST_NAMES)]  # also numbers that are not finite


Repeats = Annotated[dict[Text, Annotated[list[float], MaxLen(MOST_NAMES)]], MaxLen(MOST_NAMES)]


class Node(TypedDict):
    """A part of a config, with its parameters."""

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]
    _target_: str


class RunConfig(TypedDict):
    """A run's config, as far as a report reads it; every other key is kept."""

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]
    seed: int
    steps: Annotated[int, Ge(1), Le(MOST)]
    objective: Node
    latent_sampler: Node


class Metrics(TypedDict):
    last: Scores
    best: Scores
    trajectory: Annotated[dict[Text, Scores], MaxLen(MOST_NAMES)]
    best_step: NotRequired[Count | None]
    leading: NotRequired[Text]
    headlines: NotRequired[Annotated[list[Text], MaxLen(MOST_NAMES)]]
    directions: NotRequired[dict[Text, Literal["lower", "higher"]]]
    lower_is_better: NotRequired[bool]  # of version 0.1.0, in place of directions
    floor: NotRequired[Scores]
    repeats: NotRequired[dict[Literal["last", "best"], Repeats]]  # by evaluation seed, where there are several
    unavailable: NotRequired[Text]


class Cost(TypedDict):
    """Also the updates of each player, `<player>_updates`."""

    __pydantic_config__ = {"extra": "allow"}  # type: ignore[misc]
    seconds: NotRequired[Amount]
    images_seen: NotRequired[Amount]
    images_per_second: NotRequired[Amount]
    peak_memory_bytes: NotRequired[Amount]
    device: NotRequired[Text]
    scoring_seconds: NotRequired[Amount]
    sampling: NotRequired[dict[Text, Amount]]


def with_counts(cost: dict[str, Any]) -> dict[str, Any]:
    """The cost without unknown keys; raises ValueError for updates that are not counts."""
    updates = {printable(key): value for key, value in cost.items() if key.endswith("_updates")}
    for key, value in updates.items():
        if type(value) is not int or not 0 <= value <= MOST:
            raise ValueError(f"{key} is not a count")
    return {key: value for key, value in cost.items() if key in Cost.__annotations__} | updates


class Hardware(TypedDict):
    cpu: Text
    gpu: Text | None
    threads: Count
    processes: NotRequired[Count]  # that trained together, if several


class Git(TypedDict):
    commit: Text
    dirty: bool


class Session(TypedDict):
    """A process that trained the run, from `step` on; it was to end after `steps`."""

    started: Text
    step: Count
    steps: Count
    hardware: Hardware
    git: Git | None


class Summary(TypedDict):
    """summary.json; earlier versions lack the keys that are not required."""

    status: Status
    step: Count
    metrics: Metrics
    protocol: Annotated[
        dict[Text, Text | bool | Annotated[int, Ge(-MOST), Le(MOST)] | float | None], MaxLen(MOST_NAMES)
    ]
    cost: Annotated[Cost, AfterValidator(with_counts), MaxLen(MOST_NAMES)]
    error: NotRequired[Text]
    warnings: NotRequired[Annotated[list[Text], MaxLen(MOST_NAMES)]]
    config: NotRequired[RunConfig]
    overrides: NotRequired[list[str]]
    versions: NotRequired[Annotated[dict[Text, Text], MaxLen(MOST_NAMES)]]
    objective: NotRequired[dict[Text, Text | float | None]]
    parameters: NotRequired[Annotated[dict[Text, Count], MaxLen(MOST_NAMES)]]
    started: NotRequired[Text | None]
    ended: NotRequired[Text]
    hardware: NotRequired[Hardware | None]
    git: NotRequired[Git | None]
    sessions: NotRequired[Annotated[list[Session], MaxLen(MOST_SESSIONS)]]


class Line(TypedDict):
    """A line of metrics.jsonl, after losses or after an evaluation, as far as it is read.

    Its text is not made printable, which would take longer than reading it.
    """

    step: Count
    seconds: NotRequired[Amount]
    losses: NotRequired[dict[str, dict[str, float]]]
    scores: NotRequired[dict[str, float]]
    spread: NotRequired[float]
    rates: NotRequired[dict[str, float]]
    gradient_norms: NotRequired[dict[str, float]]
    metrics: NotRequired[dict[str, float]]
    repeats: NotRequired[dict[str, list[float]]]


def read_summary(run: Path) -> Summary:
    """Raises OSError if it cannot be read, and ValueError, one line, if it is not a run's summary."""
    return read_json(run / "summary.json", Summary)


def read_record(line: bytes) -> dict[str, Any] | None:
    """The record in a line of metrics.jsonl, with every key and in its order; None if it is something else."""
    try:
        record = from_json(line)
        adapter(Line).validate_python(record, strict=True)
    except ValueError:
        return None
    return record


def read_session(line: bytes) -> dict[str, Any] | None:
    """The session in a line of sessions.jsonl; None if it is something else."""
    try:
        return dict(adapter(Session).validate_json(line, strict=True))
    except ValueError:
        return None
