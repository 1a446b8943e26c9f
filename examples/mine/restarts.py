import math
from dataclasses import dataclass

from gan_cli.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Restarts(Schedule):
    """Falls from `start` to `end` along half a cosine wave, again every `period` steps (Loshchilov and Hutter 2017,
    arXiv:1608.03983, equation 5)."""

    start: float
    end: float
    period: int

    def at(self, step: int) -> float:
        passed = step % self.period / self.period
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * passed)) / 2
