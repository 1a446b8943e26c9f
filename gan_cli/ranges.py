"""Ranges that fields declare: in `Annotated[float, Ge(0)]` the bound says which numbers the field takes."""

import operator
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from gan_cli.schedule import LAST_STEP, Schedule

WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}  # by annotated-types' and Python's own names


class Ranged:
    """A dataclass of this base raises ValueError for a number outside the range that its field declares."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for name, value in vars(self).items():
            for problem in range_problems(name, value, hints.get(name)):
                raise ValueError(problem)


def range_problems(name: str, value: Any, hint: Any) -> Iterator[str]:
    """One line for each bound that a number, or an end of a schedule, breaks; an `Interval` is named as a whole."""
    numbers = () if value is None or isinstance(value, str) else (value,)
    ends = (value.at(0), value.at(LAST_STEP)) if isinstance(value, Schedule) else numbers
    for declared in (part for part in (hint, *get_args(hint)) if get_origin(part) is Annotated):
        for bound in declared.__metadata__:
            limits = {key: getattr(bound, key) for key in WORDS if getattr(bound, key, None) is not None}
            if not all(getattr(operator, key)(end, limit) for key, limit in limits.items() for end in ends):
                yield f"{name}={value} must be " + " and ".join(f"{WORDS[key]} {limits[key]:,}" for key in limits)
