"""Tensors that are computed once, and kept where they are used."""

from collections.abc import Callable
from functools import lru_cache
from typing import ParamSpec

from torch import Tensor

Parameters = ParamSpec("Parameters")
CACHES: list[Callable[[], None]] = []


def kept(function: Callable[Parameters, Tensor]) -> Callable[Parameters, Tensor]:
    """The function, which computes again only for arguments that are new."""
    cached = lru_cache(function)
    CACHES.append(cached.cache_clear)
    return cached  # type: ignore[return-value]


def forget() -> None:
    """Everything that is kept, for example of steps whose tensors have no values."""
    for clear in CACHES:
        clear()
